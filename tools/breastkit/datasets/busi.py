"""BUSI: breast ultrasound images, benign, malignant and normal (Al-Dhabyani et al., Data in Brief 2020).

The set has no patient ids and no official split; a quarter are near-duplicates, one pair of them under two labels.
Lesions in several parts come as several masks.
"""

from __future__ import annotations

from pathlib import Path

from breastkit.datasets.duplicates import RESEMBLANCE
from breastkit.datasets.image_sets import (
    Found,
    Picture,
    SplitRequest,
    image_of_mask,
    list_pictures,
    match_masks,
    prepare_images,
)
from breastkit.datasets.registry import DataSet
from breastkit.images import stem

DATA_SET = DataSet(
    summary="case list of BUSI: breast ultrasound, benign, malignant and normal",
    example="breastkit data prepare busi work/phantom_us work/busi",
    place=4,
)

CLASSES = ("benign", "malignant", "normal")
_MASK_FOLDERS = {"mask", "masks", "label", "labels", "gt"}
# One hospital, one type of scanner, as the paper says; the images do not.
_ORIGIN = {"site": "busi", "device": "GE LOGIQ E9"}


def prepare_busi(
    source: str | Path,
    out: str | Path,
    *,
    leave_out: str | Path | None = None,
    folds: int | None = None,
    seed: int = 0,
    random_split: bool = False,
    test_only: bool = False,
    resemblance: float = RESEMBLANCE,
    keep_contradictions: bool = False,
    resize_masks: bool = False,
    workers: int | None = None,
) -> Path:
    """Makes a case list of BUSI: 70/20/10 by group of images that resemble each other, by class.

    Args:
        source: the folder as downloaded, Dataset_BUSI_with_GT with benign, malignant and normal in it.
        out: the folder to write.
        leave_out: text file with one name of an image to leave out per line.
        folds: put all cases into this many folds for cross-validation, without validation and test lists.
        seed: another seed gives another split.
        random_split: split image by image, to show how much leaking near-duplicates flatter a result.
        test_only: put everything into the test list.
        resemblance: images whose thumbnails correlate by at least this form one case; 0.98 takes near-duplicates alone.
        keep_contradictions: keep identical images that carry different labels.
        resize_masks: bring masks of another size to the size of their images.
        workers: processes to work with; all available cores by default.

    Returns:
        The path of the case list.

    Raises:
        BreastkitError: if the folder has another layout or no image can be used.
    """
    return prepare_images(
        find_busi(source),
        out,
        request=SplitRequest(seed, folds, random_split, test_only, resemblance),
        leave_out=leave_out,
        keep_contradictions=keep_contradictions,
        resize_masks=resize_masks,
        workers=workers,
    )


def find_busi(source: str | Path) -> Found:
    """Finds the images of BUSI with their masks, beside each other or in sub-folders ``images/`` and ``mask/``."""
    source = Path(source)
    images: list[tuple[str, Path]] = []
    masks: list[tuple[str, Path]] = []
    problems: list[str] = []
    for path in list_pictures(source):
        label = _class_of(path, source)
        if label is None:
            problems.append(f"{path} lies in no folder named {', '.join(CLASSES)}; move it there or remove it.")
            continue
        of_image = image_of_mask(stem(path))
        in_mask_folder = any(part.lower() in _MASK_FOLDERS for part in path.relative_to(source).parts[:-1])
        if of_image or in_mask_folder:
            masks.append((f"{label}/{of_image or stem(path)}", path))
        else:
            images.append((f"{label}/{stem(path)}", path))
    pictures = []
    for key, path, own_masks in match_masks(images, masks, problems):
        label, name = key.split("/", 1)
        if not own_masks and label != "normal":
            problems.append(f"{path} has no mask beside it; add '{name}_mask.png' or remove the image.")
            continue
        name = name if name.lower().startswith(label) else f"{label} {name}"
        pictures.append(Picture(name, path, own_masks, facts={"class": label} | _ORIGIN))
    return Found("BUSI", source, pictures, problems)


def _class_of(path: Path, source: Path) -> str | None:
    """The class is the name of a folder on the way, else the beginning of the file's name."""
    for part in reversed((source.name, *path.relative_to(source).parts[:-1])):
        if part.lower() in CLASSES:
            return part.lower()
    return next((label for label in CLASSES if path.name.lower().startswith(label)), None)
