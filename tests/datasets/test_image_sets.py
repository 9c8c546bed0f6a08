import numpy as np
import pytest
from PIL import Image
from tests.datasets.small_sets import save, square, texture

from breastkit.cases import read_cases
from breastkit.datasets.image_sets import (
    Found,
    Picture,
    SplitRequest,
    image_of_mask,
    list_pictures,
    match_masks,
    prepare_images,
)
from breastkit.errors import BreastkitError
from breastkit.images import read_gray


def prepare(pictures, tmp_path, **options):
    found = Found("a set", tmp_path, pictures)
    return read_cases(prepare_images(found, tmp_path / "out", request=SplitRequest(), workers=1, **options))


def pictures_of(tmp_path, count, **facts):
    found = []
    for number in range(count):
        image = save(tmp_path / "in" / f"{number}.png", texture(number))
        mask = save(tmp_path / "in" / f"{number}_m.png", square((number % 20, 3)))
        found.append(Picture(str(number), image, (mask,), facts=dict(facts)))
    return found


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("benign (1)_mask", "benign (1)"),
        ("benign (1)_mask_1", "benign (1)"),
        ("TCGA_CS_4941_19960909_1_mask", "TCGA_CS_4941_19960909_1"),
        ("a-Mask-2", "a"),
        ("benign (1)", None),
        ("mask_1", None),
        ("unmasked", None),
    ],
)
def test_names_of_masks_are_told_from_names_of_images(name, image):
    assert image_of_mask(name) == image


def test_hidden_and_other_files_are_no_pictures(tmp_path):
    for name in ("a.png", "sub/b.JPG", ".hidden.png", ".thumbs/c.png", "notes.txt", "d.nii.gz", "e.tiff"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [path.relative_to(tmp_path).as_posix() for path in list_pictures(tmp_path)] == [
        "a.png",
        "e.tiff",
        "sub/b.JPG",
    ]


def test_masks_without_an_image_are_reported(tmp_path):
    problems = []
    joined = match_masks(
        [("a", tmp_path / "a.png"), ("b", tmp_path / "b.png")],
        [("a", tmp_path / "a_mask.png"), ("a", tmp_path / "a_mask_1.png"), ("z", tmp_path / "z_mask.png")],
        problems,
    )
    assert joined == [
        ("a", tmp_path / "a.png", (tmp_path / "a_mask.png", tmp_path / "a_mask_1.png")),
        ("b", tmp_path / "b.png", ()),
    ]
    assert len(problems) == 1 and "z_mask.png is a mask without an image" in problems[0]


@pytest.mark.parametrize("kind", ["palette.png", "cmyk.jpg", "colour.tif", "gray.bmp", "deep.png", "animated.png"])
def test_images_of_any_kind_become_8_bit_gray(tmp_path, kind):
    path = tmp_path / kind
    gray = Image.fromarray(texture(1))
    if kind == "deep.png":
        Image.fromarray(texture(1).astype(np.uint16) * 257).save(path)
    elif kind == "animated.png":
        gray.save(path, save_all=True, append_images=[Image.fromarray(texture(2))])
    else:
        mode = {"palette": "P", "cmyk": "CMYK", "colour": "RGB", "gray": "L"}[path.stem]
        (gray if mode == "P" else gray.convert("RGB")).convert(mode).save(path)
    cases = prepare([Picture("one", path)], tmp_path)
    (item,) = (item for _, item in cases.items())
    assert Image.open(item["image"]).mode == "L"
    # JPEG loses a little, palettes of gray nothing.
    assert np.abs(read_gray(item["image"]).astype(int) - texture(1)).mean() < 6


def test_patients_are_cases_and_resemblance_between_them_is_reported(tmp_path):
    pictures = pictures_of(tmp_path, 8)
    save(pictures[1].image, (texture(0) * 0.9).astype(np.uint8))
    pictures = [
        Picture(each.name, each.image, each.masks, case=f"patient {number // 2}", facts=each.facts)
        for number, each in enumerate(pictures)
    ]
    cases = prepare(pictures, tmp_path)
    assert {item["case"] for _, item in cases.items()} == {f"patient {number}" for number in range(4)}
    assert cases.facts["problems"] == []
    save(pictures[2].image, (texture(0) * 0.8).astype(np.uint8))
    found = Found("a set", tmp_path, pictures)
    again = read_cases(prepare_images(found, tmp_path / "again", request=SplitRequest(), workers=1))
    assert "2 pairs of near-duplicates belong to different patients" in again.facts["problems"][0]


def test_identical_flat_images_are_one_case_and_different_masks_are_reported(tmp_path):
    pictures = pictures_of(tmp_path, 5)
    for each in pictures[:2]:
        save(each.image, np.full((40, 52), 7, np.uint8))
    cases = prepare(pictures, tmp_path)
    items = {item["image"].rsplit("/", 1)[1]: item for _, item in cases.items()}
    assert items["0.png"]["case"] == items["1.png"]["case"]
    assert "same image with different masks" in cases.facts["problems"][0]


def test_two_images_of_one_name_are_not_written_over_each_other(tmp_path):
    pictures = pictures_of(tmp_path, 3)
    clash = Picture("2", save(tmp_path / "in" / "other" / "2.png", texture(50)), pictures[0].masks)
    cases = prepare([*pictures, clash], tmp_path)
    assert len(list(cases.items())) == 3
    assert "would get the same name '2'" in cases.facts["problems"][0]


def test_workers_give_what_one_process_gives(tmp_path):
    pictures = pictures_of(tmp_path, 6)
    alone, together = (
        prepare_images(Found("a set", tmp_path, pictures), tmp_path / name, request=SplitRequest(), workers=workers)
        for name, workers in (("alone", 1), ("together", 2))
    )
    assert alone.read_text() == together.read_text()


def test_nothing_usable_is_an_error_and_leaves_no_case_list(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(BreastkitError, match=r"none of 1 images can be used: .*a\.png is empty"):
        prepare([Picture("a", tmp_path / "a.png")], tmp_path)
    assert not list((tmp_path / "out").rglob("*.json"))
