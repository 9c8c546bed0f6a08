"""Any two folders of images and masks that belong together by name: STU-Hospital, UDIAT, BrEaST, one's own."""

from __future__ import annotations

import re
from pathlib import Path

from breastkit.datasets.duplicates import RESEMBLANCE
from breastkit.datasets.image_sets import Found, Picture, SplitRequest, list_pictures, match_masks, prepare_images
from breastkit.datasets.registry import DataSet
from breastkit.errors import BreastkitError
from breastkit.images import stem

DATA_SET = DataSet(
    summary="case list of a folder of images and one of masks (BrEaST, STU-Hospital, UDIAT, your own)",
    example="breastkit data prepare pairs udiat/original udiat/GT work/udiat --test-only",
    place=6,
)


def prepare_pairs(
    images: str | Path,
    masks: str | Path,
    out: str | Path,
    *,
    image_pattern: str = "{}",
    mask_pattern: str = "{}",
    leave_out: str | Path | None = None,
    folds: int | None = None,
    seed: int = 0,
    random_split: bool = False,
    test_only: bool = False,
    resemblance: float = RESEMBLANCE,
    resize_masks: bool = False,
    workers: int | None = None,
) -> Path:
    """Makes a case list of a folder of images and one of masks, matched by name; resembling images form a case.

    Args:
        images: the folder of images, for example original of UDIAT.
        masks: the folder of masks, for example GT of UDIAT; it may be the folder of images.
        out: the folder to write.
        image_pattern: names of images without suffix, {} standing for what their masks share, as in Test_Image_{}.
        mask_pattern: names of masks likewise, as in mask_{} or {}_mask*; * stands for anything.
        leave_out: text file with one name of an image to leave out per line.
        folds: put all cases into this many folds for cross-validation, without validation and test lists.
        seed: another seed gives another split.
        random_split: split image by image, to show how much leaking near-duplicates flatter a result.
        test_only: put everything into the test list, to measure a model trained elsewhere.
        resemblance: images whose thumbnails correlate by at least this form one case; 0.98 takes near-duplicates alone.
        resize_masks: bring masks of another size to the size of their images.
        workers: processes to work with; all available cores by default.

    Returns:
        The path of the case list.

    Raises:
        BreastkitError: if no image has a mask.
    """
    return prepare_images(
        find_pairs(images, masks, image_pattern=image_pattern, mask_pattern=mask_pattern),
        out,
        request=SplitRequest(seed, folds, random_split, test_only, resemblance),
        leave_out=leave_out,
        resize_masks=resize_masks,
        workers=workers,
    )


def find_pairs(
    images: str | Path,
    masks: str | Path,
    *,
    image_pattern: str = "{}",
    mask_pattern: str = "{}",
    set_name: str = "image and mask pairs",
) -> Found:
    """Matches images and masks by what stands for ``{}`` in their names, and by their sub-folders where there are any.

    Raises:
        BreastkitError: if a folder is missing, a pattern has not one ``{}``, or nothing matches.
    """
    images, masks = Path(images), Path(masks)
    keys_of_images, keys_of_masks = _keys(images, image_pattern), _keys(masks, mask_pattern)
    if images.resolve() == masks.resolve():
        if image_pattern == mask_pattern:
            raise BreastkitError(
                f"{images} holds images and masks; tell them apart with --mask-pattern, as in {{}}_mask."
            )
        # In one folder, what looks like a mask is no image.
        keys_of_images = {path: key for path, key in keys_of_images.items() if path not in keys_of_masks}
    problems: list[str] = []
    joined = match_masks(
        ((key, path) for path, key in keys_of_images.items()),
        ((key, path) for path, key in keys_of_masks.items()),
        problems,
    )
    if not any(own for *_, own in joined):
        examples = [next((path.name for path in list_pictures(folder)), "none") for folder in (images, masks)]
        raise BreastkitError(
            f"No image of {images} ({examples[0]}…) has a mask of the same name in {masks} ({examples[1]}…); "
            "say how names match with --image-pattern and --mask-pattern."
        )
    problems += [f"{path} has no mask in {masks}; add one or remove the image." for _, path, own in joined if not own]
    pictures = [Picture(key.replace("/", "_"), path, own) for key, path, own in joined if own]
    return Found(set_name, images, pictures, problems)


def _keys(folder: Path, pattern: str) -> dict[Path, str]:
    """Returns what stands for ``{}`` in the name of every picture that fits the pattern, its sub-folder before it."""
    if pattern.count("{}") != 1:
        raise BreastkitError(
            f"The pattern '{pattern}' needs {{}} once, for what images and masks share in their names."
        )
    before, after = (re.escape(part).replace(r"\*", ".*?") for part in pattern.split("{}"))
    name = re.compile(f"{before}(.+?){after}", re.IGNORECASE)
    keys = {}
    for path in list_pictures(folder):
        match = name.fullmatch(stem(path))
        if match:
            keys[path] = (path.parent.relative_to(folder) / match[1]).as_posix()
    return keys
