import json

import numpy as np
import pytest

from breastkit.cases import find_problems, read_cases, write_cases
from breastkit.errors import BreastkitError
from breastkit.images import write_nifti, write_png


def _pair(folder, name, *, shape=(6, 8), label_shape=None):
    pixels = np.random.default_rng(len(name)).integers(0, 255, shape, np.uint8)
    image = write_png(folder / f"{name}.png", pixels)
    label = write_png(folder / f"{name}_mask.png", np.zeros(label_shape or shape, np.uint8))
    return {"image": str(image), "label": str(label), "case": name}


def _list(folder, **changes):
    lists = {
        "training": [_pair(folder, "a") | {"fold": 0}, _pair(folder, "bb") | {"fold": 1}],
        "validation": [_pair(folder, "ccc")],
        "test": [_pair(folder, "dddd")],
    }
    return write_cases(folder, lists | changes, facts={"name": "phantoms", "seed": 3})


def test_paths_are_relative_in_the_file_and_absolute_in_memory(tmp_path):
    cases = _list(tmp_path)
    written = json.loads((tmp_path / "dataset.json").read_text())
    assert written["training"][0]["image"] == "a.png"
    assert written["name"] == "phantoms"
    assert cases.training[0]["image"] == str(tmp_path / "a.png")
    assert read_cases(tmp_path).test == cases.test
    assert read_cases(tmp_path / "dataset.json").facts == {"name": "phantoms", "seed": 3}


def test_a_moved_folder_reads_the_same(tmp_path):
    (tmp_path / "here").mkdir()
    cases = _list(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there (1) ü")
    moved = read_cases(tmp_path / "there (1) ü")
    assert moved.hash == cases.hash
    assert moved.training[0]["image"].startswith(str(tmp_path / "there (1) ü"))


def test_folds(tmp_path):
    cases = _list(tmp_path)
    names = lambda items: sorted(item["case"] for item in items)  # noqa: E731
    assert [names(part) for part in cases.fold_lists()] == [["a", "bb"], ["ccc"]]
    assert [names(part) for part in cases.fold_lists(1)] == [["a", "ccc"], ["bb"]]
    with pytest.raises(BreastkitError, match=r"fold 7; its folds are \[0, 1\]"):
        cases.fold_lists(7)
    without = _list(tmp_path, validation=[])
    assert [names(part) for part in without.fold_lists()] == [["bb"], ["a"]]


def test_every_problem_is_told_at_once(tmp_path):
    good = _pair(tmp_path, "good")
    empty = _pair(tmp_path, "empty")
    (tmp_path / "empty.png").write_bytes(b"")
    write_cases(
        tmp_path,
        {
            "training": [
                good | {"fold": 0},
                good | {"fold": 0},
                _pair(tmp_path, "shape", label_shape=(5, 8)),
                _pair(tmp_path, "gone") | {"image": str(tmp_path / "gone (2).png")},
                empty,
                _pair(tmp_path, "view-l") | {"case": "patient", "fold": 1},
                _pair(tmp_path, "view-r") | {"case": "patient", "fold": 2},
            ],
            "test": [_pair(tmp_path, "side") | {"case": "good"}],
        },
    )
    with pytest.raises(BreastkitError) as caught:
        read_cases(tmp_path)
    sentences = str(caught.value).splitlines()
    expected = [
        "listed twice",
        "shape_mask.png has shape",
        "gone (2).png does not",
        "empty.png is empty",
        "in training",
        "in fold",
    ]
    assert len(sentences) == len(expected)
    for words in expected:
        assert sum(words in sentence for sentence in sentences) == 1, words


def test_volumes_must_share_their_affine(tmp_path):
    scan = np.arange(27, dtype=np.int16).reshape(3, 3, 3)
    write_nifti(tmp_path / "a.nii.gz", scan, np.eye(4))
    write_nifti(tmp_path / "b.nii.gz", scan % 2, np.diag([-1.0, 1, 1, 1]))
    item = {"image": str(tmp_path / "a.nii.gz"), "label": str(tmp_path / "b.nii.gz"), "case": "1"}
    (problem,) = find_problems(write_cases(tmp_path, {"training": [item]}))
    assert "different affines" in problem


def test_phases_and_class_labels(tmp_path):
    first, second = (_pair(tmp_path, name) for name in ("p", "qq"))
    item = {"image": [first["image"], second["image"]], "label": first["label"], "class": "benign", "case": "1"}
    cases = write_cases(tmp_path, {"training": [item]})
    assert not find_problems(cases)
    assert read_cases(tmp_path).training[0]["image"] == [first["image"], second["image"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ("[]", "neither a list"),
        ('{"training": [{"case": 1}]}', "names no image"),
        ('{"training": [], "test": 3}', "is not a list"),
    ],
)
def test_a_file_that_is_no_case_list_is_one_sentence(tmp_path, text, words):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(BreastkitError, match=words):
        read_cases(tmp_path)


def test_an_empty_list_or_an_unknown_name_is_a_sentence(tmp_path):
    cases = _list(tmp_path, test=[])
    for name in ("test", "tset"):
        with pytest.raises(BreastkitError, match=name):
            cases.split(name)
    with pytest.raises(BreastkitError, match="breastkit data prepare"):
        read_cases(tmp_path / "nowhere")


def _two_sites(folder):
    """Two patients of site a, two of site b, one seen at both; c and d are of validation and test."""
    of = {"a0": "a", "a1": "a", "b0": "b", "both_a": "a", "both_b": "b", "a2": "a", "b2": "b", "a3": "a", "b3": "b"}
    items = {
        name: _pair(folder, name, shape=(6, 8 + place)) | {"site": site, "case": name.partition("_")[0]}
        for place, (name, site) in enumerate(of.items())
    }
    folds = [items[name] | {"fold": fold % 2} for fold, name in enumerate(("a0", "a1", "b0"))]
    folds += [items[name] | {"fold": 0} for name in ("both_a", "both_b")]
    lists = {"training": folds, "validation": [items["a2"], items["b2"]], "test": [items["a3"], items["b3"]]}
    return write_cases(folder, lists)


def test_a_site_left_out_is_what_is_measured_and_nothing_else_knows_it(tmp_path):
    cases = _two_sites(tmp_path)
    left = cases.leaving_out("site=b")
    names = {which: [item["case"] for item in left.split(which)] for which in ("training", "validation", "test")}
    # A patient seen at both sites is not learnt from.
    assert names == {"training": ["a0", "a1"], "validation": ["a2"], "test": ["b0", "both", "b2", "b3"]}
    assert find_problems(left) == [] and left.hash != cases.hash
    assert cases.leaving_out(None) is cases


@pytest.mark.parametrize(("rule", "sentence"), [("site=c", "has a, b for 'site'"), ("site", "a, b"), ("x=1", "no 'x'")])
def test_what_cannot_be_left_out_is_said_with_what_can(tmp_path, rule, sentence):
    with pytest.raises(BreastkitError, match=sentence):
        _two_sites(tmp_path).leaving_out(rule)
