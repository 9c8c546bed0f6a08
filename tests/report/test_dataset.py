import html
import json
import re

import numpy as np
import pytest
from tests.datasets.small_sets import save, square, texture, write_busi
from tests.report.test_page import check_page

from breastkit.cases import write_cases
from breastkit.datasets.busi import prepare_busi
from breastkit.errors import BreastkitError
from breastkit.images import write_nifti
from breastkit.report.dataset import dataset_report


def report(folder):
    page = dataset_report(folder, workers=1)
    assert page == folder / "report.html"
    text = page.read_text(encoding="utf-8")
    check_page(text)
    return text


def plain(text):
    """The words of a page, without tags and with single spaces."""
    return re.sub(r"[ \n]+", " ", html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", text, flags=re.DOTALL)))


@pytest.fixture
def prepared(tmp_path):
    source = write_busi(tmp_path / "source", {"benign": 12, "malignant": 8, "normal": 6})
    save(source / "benign" / "benign (2).png", (texture(1) * 0.9).astype(np.uint8))
    save(source / "malignant" / "malignant (2).png", texture(3))
    prepare_busi(source, tmp_path / "out", workers=1)
    return tmp_path / "out"


def test_the_page_counts_and_shows_what_someone_deciding_needs(prepared):
    text = report(prepared)
    words = plain(text)
    # benign (3) and malignant (2) are one image under two labels: 24 of 26 are left.
    assert "24 images" in words
    assert "'benign (3)' and 'malignant (2)' are the same image under the classes benign and malignant" in words
    assert "Left out at preparation" in words and "are one image with different classes" in words
    assert "1 pair in 1 group, 2 images" in words
    assert "Each group is on one side of the split" in words
    rows = {row[0]: row[1:] for row in re.findall(r'<tr><th scope="row">(\w+)</th>(.*?)</tr>', text)}
    counts = {name: [int(cell) for cell in re.findall(r"<td>(\d+)</td>", cells[0])] for name, cells in rows.items()}
    lists = json.loads((prepared / "dataset.json").read_text())
    for name in ("training", "validation", "test"):
        classes = [item["class"] for item in lists[name]]
        assert counts[name][:4] == [*(classes.count(each) for each in ("benign", "malignant", "normal")), len(classes)]
    for fold in range(5):
        assert counts[str(fold)][3] == sum(item["fold"] == fold for item in lists["training"])
    # 64 of 40 x 52 pixels are marked in every lesion.
    assert "3.1\u202f%" in words
    assert text.count('loading="lazy"') > 24


def test_a_leaking_split_is_called_one(tmp_path):
    items = []
    for number in range(6):
        image = save(tmp_path / "images" / f"{number}.png", (texture(1) * (1 - number / 50)).astype(np.uint8))
        label = save(tmp_path / "labels" / f"{number}.png", square((5, 9)))
        items.append({"image": str(image), "label": str(label), "case": str(number)})
    write_cases(tmp_path, {"training": [item | {"fold": 0} for item in items[:4]], "test": items[4:]})
    words = plain(report(tmp_path))
    assert "1 group is on more than one side of the split: results on this split are flattered." in words


def test_every_problem_is_listed_and_bad_files_do_not_stop_the_page(prepared):
    lists = json.loads((prepared / "dataset.json").read_text())
    first, second, third, fourth = [item["image"] for item in lists["training"] if item["class"] == "benign"][:4]
    (prepared / first).write_bytes(b"")
    (prepared / second).unlink()
    save(prepared / third.replace("images", "labels"), np.full((40, 52), 255, np.uint8))
    save(prepared / fourth.replace("images", "labels"), np.zeros((40, 52), np.uint8))
    words = plain(report(prepared))
    assert f"{first} is empty" in words
    assert f"{second} does not exist" in words
    assert "covers 100\u202f% of it; it may be inverted" in words
    assert "is of class benign but its label is empty" in words
    assert str(prepared) not in words


def test_volumes_are_shown_by_their_middle_slices(tmp_path):
    rng = np.random.default_rng(0)
    lists = {"training": [], "test": [], "inference": []}
    for number, name in enumerate(["training", "training", "test", "inference"]):
        scan = rng.normal(100, 20, (24, 30, 12)).astype(np.float32)
        mask = np.zeros(scan.shape, np.uint8)
        mask[5:15, 5:15, 3:9] = 1
        affine = np.diag([2.0, 2.0, 5.0, 1.0])
        item = {
            "image": str(write_nifti(tmp_path / f"case {number}" / "scan.nii.gz", scan, affine)),
            "case": str(number),
        }
        if name != "inference":
            item["label"] = str(write_nifti(tmp_path / f"case {number}" / "mask.nii.gz", mask, affine))
        lists[name].append(item | ({"fold": 0} if name == "training" else {}))
    write_cases(tmp_path, lists, facts={"name": "volumes"})
    words = plain(report(tmp_path))
    assert "4 scans" in words
    # 600 voxels of 20 mm3 are 12 ml.
    assert "12.0" in words and "volume of the label, ml" in words
    assert "slice spacing, mm 5.00" in words
    assert "case 0/scan" in words
    assert "Near-duplicates" not in words


def test_class_labels_and_lists_without_labels_are_shown_too(tmp_path):
    items = []
    for number in range(5):
        image = save(tmp_path / f"{number}.png", texture(number))
        items.append({"image": str(image), "label": number % 2, "case": str(number)})
    write_cases(tmp_path, {"training": items[:3], "test": items[3:]})
    words = plain(report(tmp_path))
    assert "0 · training · no label" in words and "1 · training · no label" in words


def test_nothing_to_show_gets_a_sentence(tmp_path):
    with pytest.raises(BreastkitError, match="make it with 'breastkit data prepare'"):
        dataset_report(tmp_path)
    write_cases(tmp_path, {"training": []})
    with pytest.raises(BreastkitError, match="holds no cases"):
        dataset_report(tmp_path)
