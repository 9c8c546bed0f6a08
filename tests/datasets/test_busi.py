import shutil

import numpy as np
import pytest
from PIL import Image
from tests.datasets.small_sets import save, square, texture, write_busi

from breastkit.cases import read_cases
from breastkit.datasets.busi import find_busi, prepare_busi
from breastkit.errors import BreastkitError
from breastkit.images import read_gray, read_mask
from breastkit.phantoms.us.pictures import write_us_phantoms

COUNTS = {"benign": 20, "malignant": 10, "normal": 10}


@pytest.fixture
def source(tmp_path):
    return write_busi(tmp_path / "Dataset_BUSI_with_GT", COUNTS)


def prepare(source, out, **options):
    return read_cases(prepare_busi(source, out, workers=1, **options))


def by_name(cases):
    return {item["image"].rsplit("/", 1)[1][:-4]: (name, item) for name, item in cases.items()}


def test_the_split_is_70_20_10_and_stratified(source, tmp_path):
    cases = prepare(source, tmp_path / "out")
    assert [len(cases.split(name)) for name in ("training", "validation", "test")] == [28, 8, 4]
    for name, share in (("training", 0.7), ("validation", 0.2), ("test", 0.1)):
        for label, count in COUNTS.items():
            found = sum(item["class"] == label for item in cases.split(name))
            assert abs(found - share * count) <= 1
    assert {item["fold"] for item in cases.training} == {0, 1, 2, 3, 4}
    assert cases.facts["problems"] == [] == cases.facts["left_out"]


def test_images_and_masks_are_8_bit_gray_in_a_folder_that_can_move(source, tmp_path):
    prepare(source, tmp_path / "out")
    shutil.move(tmp_path / "out", tmp_path / "anderer Ort (ä)")
    shutil.rmtree(source)
    _, item = by_name(read_cases(tmp_path / "anderer Ort (ä)"))["benign (1)"]
    assert Image.open(item["image"]).mode == Image.open(item["label"]).mode == "L"
    assert np.array_equal(read_gray(item["image"]), texture(1))
    assert set(np.unique(read_gray(item["label"]))) == {0, 255}
    assert item["lesion_px"] == 64
    assert item["class"] == "benign"


def test_several_masks_are_united(source, tmp_path):
    save(source / "benign" / "benign (1)_mask_1.png", square((20, 30)))
    save(source / "benign" / "benign (1)_mask_2.png", square((24, 34)))
    _, item = by_name(prepare(source, tmp_path / "out"))["benign (1)"]
    united = square((5, 9)) | square((20, 30)) | square((24, 34))
    assert np.array_equal(read_gray(item["label"]), united)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_masks_of_any_mode_are_read_and_alpha_is_never_the_mask(source, tmp_path, mode):
    path = source / "benign" / "benign (1)_mask.png"
    gray = Image.fromarray(square((5, 9)))
    if mode == "I;16":
        picture = Image.fromarray(square((5, 9)).astype(np.uint16) * 257)
    else:
        picture = gray.convert(mode)
        if mode.endswith("A"):
            picture.putalpha(255)
    picture.save(path)
    _, item = by_name(prepare(source, tmp_path / "out"))["benign (1)"]
    assert np.array_equal(read_mask(item["label"]) * 255, square((5, 9)))


def test_normals_need_no_mask_and_get_an_empty_one(source, tmp_path):
    (source / "normal" / "normal (1)_mask.png").unlink()
    cases = prepare(source, tmp_path / "out")
    _, item = by_name(cases)["normal (1)"]
    assert not read_mask(item["label"]).any()
    assert item["lesion_px"] == 0
    assert cases.facts["problems"] == []


def test_sub_folders_for_images_and_masks_are_understood(source, tmp_path):
    for label in COUNTS:
        for path in sorted((source / label).iterdir()):
            kind = "mask" if "_mask" in path.name else "images"
            (source / label / kind).mkdir(exist_ok=True)
            path.rename(source / label / kind / path.name.replace("_mask", ""))
    assert {picture.name for picture in find_busi(source).pictures} == {
        f"{label} ({number})" for label, count in COUNTS.items() for number in range(1, count + 1)
    }
    cases = prepare(source.parent / "Dataset_BUSI_with_GT", tmp_path / "out")
    assert sum(item["lesion_px"] == 64 for _, item in cases.items()) == 30
    assert cases.facts["problems"] == []


def blended(share):
    """An image that correlates with `texture(1)` by about the share given."""
    first, other = texture(1).astype(float), texture(900).astype(float)
    first, other = (each - each.mean() for each in (first, other))
    other -= first * (first * other).sum() / (first * first).sum()
    mixed = share * first / first.std() + np.sqrt(1 - share**2) * other / other.std()
    return (128 + 30 * mixed).clip(0, 255).astype(np.uint8)


def test_what_falls_short_of_a_near_duplicate_stays_together_too_unless_told_otherwise(source, tmp_path):
    save(source / "benign" / "benign (2).png", blended(0.94))
    cases = by_name(prepare(source, tmp_path / "out"))
    assert cases["benign (1)"][1]["case"] == cases["benign (2)"][1]["case"]
    strict = prepare(source, tmp_path / "strict", resemblance=0.98)
    assert by_name(strict)["benign (1)"][1]["case"] != by_name(strict)["benign (2)"][1]["case"]
    assert strict.facts["near_duplicates"] == {"pairs": 0, "groups": 0, "correlation": 0.98}
    with pytest.raises(BreastkitError, match=r"give 0\.5 to 0\.98"):
        prepare(source, tmp_path / "low", resemblance=0.2)


def test_near_duplicates_stay_together(source, tmp_path):
    for number in range(2, 8):
        brighter = (texture(1) * 0.8 + number).astype(np.uint8)
        save(source / "benign" / f"benign ({number}).png", brighter)
    cases = prepare(source, tmp_path / "out")
    names = [f"benign ({number})" for number in range(1, 8)]
    assert len({by_name(cases)[name][0] for name in names}) == 1
    assert {by_name(cases)[name][1]["case"] for name in names} == {"benign (1)"}
    assert cases.facts["near_duplicates"]["groups"] == 1
    assert cases.facts["near_duplicates"]["pairs"] == 21


def test_an_image_under_two_labels_is_reported_and_left_out_unless_kept(source, tmp_path):
    shutil.copy(source / "benign" / "benign (3).png", source / "malignant" / "malignant (5).png")
    cases = prepare(source, tmp_path / "out")
    assert not {"benign (3)", "malignant (5)"} & set(by_name(cases))
    assert len(by_name(cases)) == 38
    assert [entry["image"] for entry in cases.facts["left_out"]] == [
        "images/benign (3).png",
        "images/malignant (5).png",
    ]
    assert len(cases.facts["problems"]) == 1
    assert "same image under the classes benign and malignant" in cases.facts["problems"][0]

    kept = prepare(source, tmp_path / "kept", keep_contradictions=True)
    assert len(by_name(kept)) == 40
    assert by_name(kept)["benign (3)"][1]["case"] == by_name(kept)["malignant (5)"][1]["case"]


def test_near_duplicates_of_two_classes_are_reported(source, tmp_path):
    save(source / "malignant" / "malignant (5).png", (texture(3) * 0.9).astype(np.uint8))
    cases = prepare(source, tmp_path / "out")
    assert "'benign (3)' and 'malignant (5)' resemble each other" in cases.facts["problems"][0]
    assert len(by_name(cases)) == 40


def test_a_file_of_ids_is_left_out(source, tmp_path):
    listed = tmp_path / "out.txt"
    listed.write_text("# why\nbenign (2)\nmalignant (1).png\n\nbenign (99)\n")
    cases = prepare(source, tmp_path / "out", leave_out=listed)
    assert len(by_name(cases)) == 38
    assert "benign (2)" not in by_name(cases)
    assert len(cases.facts["left_out"]) == 2
    assert "'benign (99)'" in cases.facts["problems"][0]
    with pytest.raises(BreastkitError, match="one image to leave out per line"):
        prepare(source, tmp_path / "other", leave_out=tmp_path / "missing.txt")


def test_folds_put_every_case_into_training(source, tmp_path):
    cases = prepare(source, tmp_path / "out", folds=4)
    assert len(cases.training) == 40
    assert not cases.validation and not cases.test
    assert [sum(item["fold"] == fold for item in cases.training) for fold in range(4)] == [10] * 4
    train, validate = cases.fold_lists(2)
    assert len(train) == 30 and len(validate) == 10
    with pytest.raises(BreastkitError, match="at least 2"):
        prepare(source, tmp_path / "one", folds=1)


def test_a_random_split_ignores_near_duplicates(source, tmp_path):
    for number in range(2, 16):
        save(source / "benign" / f"benign ({number}).png", (texture(1) * 0.8 + number).astype(np.uint8))
    cases = prepare(source, tmp_path / "out", random_split=True)
    assert {by_name(cases)[f"benign ({number})"][0] for number in range(1, 16)} > {"training"}


def test_everything_can_go_into_the_test_list(source, tmp_path):
    cases = prepare(source, tmp_path / "out", test_only=True)
    assert len(cases.test) == 40 and not cases.training
    with pytest.raises(BreastkitError, match="exclude each other"):
        prepare(source, tmp_path / "both", test_only=True, folds=3)


def test_preparing_again_after_adding_images_moves_nothing(source, tmp_path):
    before = {
        name: (place, item.get("fold")) for name, (place, item) in by_name(prepare(source, tmp_path / "out")).items()
    }
    write_busi(tmp_path / "more", {"benign": 30}, first_seed=500)
    for number in range(21, 31):
        for suffix in ("", "_mask"):
            name = f"benign ({number}){suffix}.png"
            shutil.move(tmp_path / "more" / "benign" / name, source / "benign" / name)
    after = {
        name: (place, item.get("fold")) for name, (place, item) in by_name(prepare(source, tmp_path / "out")).items()
    }
    assert len(after) == 50
    assert {name: after[name] for name in before} == before


def test_a_folder_of_another_split_is_not_reshuffled(source, tmp_path):
    prepare(source, tmp_path / "out")
    with pytest.raises(BreastkitError, match="never reshuffled"):
        prepare(source, tmp_path / "out", seed=1)


def test_bad_files_are_named_and_the_rest_is_prepared(source, tmp_path):
    (source / "benign" / "benign (1).png").write_bytes(b"")
    (source / "benign" / "benign (2).png").write_text("not a picture")
    save(source / "benign" / "benign (3)_mask.png", square((2, 2), shape=(80, 104), size=20))
    (source / "benign" / "benign (4)_mask.png").unlink()
    save(source / "malignant" / "malignant (77)_mask.png", square((1, 1)))
    save(source / "readme.png", texture(99))
    cases = prepare(source, tmp_path / "out")
    assert len(by_name(cases)) == 36
    sentences = "\n".join(cases.facts["problems"])
    for part in (
        "benign (1).png is empty",
        "benign (2).png is damaged or not a picture",
        "is 104x80 pixels but",
        "--resize-masks",
        "benign (4).png has no mask beside it",
        "malignant (77)_mask.png is a mask without an image",
        "readme.png lies in no folder named",
    ):
        assert part in sentences
    resized = prepare(source, tmp_path / "resized", resize_masks=True)
    _, item = by_name(resized)["benign (3)"]
    assert 90 <= item["lesion_px"] <= 110


@pytest.mark.parametrize("layout", ["missing", "empty", "file"])
def test_a_folder_that_is_no_busi_gets_a_sentence(tmp_path, layout):
    source = tmp_path / "source"
    if layout == "empty":
        source.mkdir()
    elif layout == "file":
        source.write_text("x")
    with pytest.raises(BreastkitError, match=r"source (does not exist|holds no images|is a file)"):
        prepare(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_phantoms_are_prepared_like_the_real_set(tmp_path):
    write_us_phantoms(tmp_path / "phantoms", cases=4, seed=0, workers=1)
    cases = prepare(tmp_path / "phantoms", tmp_path / "out")
    assert len(by_name(cases)) == 4
    assert cases.facts["problems"] == []
    assert {item["class"] for _, item in cases.items()} == {"benign", "malignant", "normal"}
