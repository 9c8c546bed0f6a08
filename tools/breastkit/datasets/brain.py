"""Brain MRI slices with tumour masks: the figshare set as ``images/N.png``, and TCGA-LGG with one folder a patient."""

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
from breastkit.datasets.pairs import find_pairs
from breastkit.datasets.registry import DataSet
from breastkit.errors import BreastkitError
from breastkit.images import stem

DATA_SET = DataSet(
    summary="case list of brain MRI slices with tumour masks",
    example="breastkit data prepare brain kaggle_3m work/brain",
    place=7,
)


def prepare_brain(
    source: str | Path,
    out: str | Path,
    *,
    leave_out: str | Path | None = None,
    folds: int | None = None,
    seed: int = 0,
    random_split: bool = False,
    test_only: bool = False,
    resemblance: float = RESEMBLANCE,
    resize_masks: bool = False,
    workers: int | None = None,
) -> Path:
    """Makes a case list of brain slices: 70/20/10 by patient, or by resemblance where none are known.

    Args:
        source: a folder with images and masks in it (1.png in both), or with TCGA_* folders, one a patient.
        out: the folder to write.
        leave_out: text file with one name of an image to leave out per line.
        folds: put all cases into this many folds for cross-validation, without validation and test lists.
        seed: another seed gives another split.
        random_split: split image by image, to show how much leaking neighbours flatter a result.
        test_only: put everything into the test list.
        resemblance: images whose thumbnails correlate by at least this form one case; 0.98 takes near-duplicates alone.
        resize_masks: bring masks of another size to the size of their images.
        workers: processes to work with; all available cores by default.

    Returns:
        The path of the case list.

    Raises:
        BreastkitError: if the folder has another layout or no image can be used.
    """
    return prepare_images(
        find_brain(source),
        out,
        request=SplitRequest(seed, folds, random_split, test_only, resemblance),
        leave_out=leave_out,
        resize_masks=resize_masks,
        workers=workers,
    )


def find_brain(source: str | Path) -> Found:
    """Finds brain slices with their masks in either layout.

    Raises:
        BreastkitError: if the folder has neither.
    """
    source = Path(source)
    if (source / "images").is_dir() and (source / "masks").is_dir():
        return find_pairs(source / "images", source / "masks", set_name="brain slices")
    patients = sorted(path for path in source.rglob("TCGA_*") if path.is_dir())
    if not patients:
        what = "has neither images and masks nor TCGA_* folders in it" if source.is_dir() else "does not exist"
        raise BreastkitError(f"{source} {what}; give the folder of the data set as downloaded.")
    pictures: list[Picture] = []
    problems: list[str] = []
    for folder in patients:
        files = [(image_of_mask(stem(path)), path) for path in list_pictures(folder)]
        images = ((stem(path), path) for of_image, path in files if not of_image)
        masks = ((of_image, path) for of_image, path in files if of_image)
        for name, path, own in match_masks(images, masks, problems):
            if own:
                pictures.append(Picture(name, path, own, case=folder.name))
            else:
                problems.append(f"{path} has no mask beside it; add one or remove the image.")
    return Found("TCGA-LGG", source, pictures, problems)
