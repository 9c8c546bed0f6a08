"""Phantoms by which weights are tried before they are promoted: always the same, with their truth, in seconds.

They are such as the shipped weights answer well, so that a collapse shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from breastkit.atomic import make_folder
from breastkit.cases import Item
from breastkit.images import write_nifti, write_png
from breastkit.phantoms.mri.case import make_mri_phantom
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.seeding import generator

_SEED = 7
# Of the cases of the seed, those that show their lesion.
_PICTURES = (0, 1, 2, 3, 6, 7)
_VOLUMES, _VOLUME_SHAPE = (0, 1), (96, 96, 24)
_STUDY_SEED, _STUDIES, _STUDY_SHAPE = 11, (1, 6, 7, 8, 11), (128, 128, 32)
_HEADS, _HEAD_SIZE = 4, 192


def ultrasound_phantoms(folder: Path) -> list[Item]:
    """Writes pictures with a lesion, as many benign as malignant."""
    items = []
    for case in _PICTURES:
        phantom = make_us_phantom(_SEED, case, label=("benign", "malignant")[case % 2])
        item = _picture(folder, f"phantom_{case}", phantom.image, phantom.mask)
        items.append({**item, "class": phantom.label})
    return items


def head_phantoms(folder: Path) -> list[Item]:
    """Writes slices through a head, each with a bright round tumour."""
    return [_picture(folder, f"phantom_{number}", *_head(number)) for number in range(_HEADS)]


def breast_phantoms(folder: Path) -> list[Item]:
    """Writes volumes after contrast with their breasts."""
    items = []
    for case in _VOLUMES:
        phantom = make_mri_phantom(_SEED, case, shape=_VOLUME_SHAPE, phases=2, lesions=1, orientation="LPS")
        place = make_folder(folder / "phantoms" / f"phantom_{case}")
        image = write_nifti(place / "image.nii.gz", phantom.phases[1], phantom.affine)
        label = write_nifti(place / "label.nii.gz", phantom.breast.astype(np.uint8), phantom.affine)
        items.append({"image": str(image), "label": str(label), "numbers": [1], "case": f"phantom_{case}"})
    return items


def study_phantoms(folder: Path) -> list[Item]:
    """Writes studies before and after contrast with their lesion."""
    items = []
    for case in _STUDIES:
        phantom = make_mri_phantom(_STUDY_SEED, case, shape=_STUDY_SHAPE, phases=2, lesions=1, orientation="LPS")
        place = make_folder(folder / "phantoms" / f"phantom_{case}")
        phases = [
            str(write_nifti(place / f"phase_{number:04d}.nii.gz", array, phantom.affine))
            for number, array in enumerate(phantom.phases)
        ]
        label = write_nifti(place / "label.nii.gz", (phantom.lesions > 0).astype(np.uint8), phantom.affine)
        items.append({"image": phases, "label": str(label), "numbers": [1], "case": f"phantom_{case}"})
    return items


def _picture(folder: Path, name: str, image: NDArray[Any], mask: NDArray[Any]) -> Item:
    place = make_folder(folder / "phantoms")
    picture = write_png(place / f"{name}.png", image)
    label = write_png(place / f"{name}_label.png", (mask > 0).astype(np.uint8) * 255)
    return {"image": str(picture), "label": str(label), "case": name}


def _head(number: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns a slice through a head with skull, fluid around the brain and a tumour, and the tumour's mask."""
    random = generator(_SEED, "head", number)
    rows, columns = np.mgrid[-1 : 1 : _HEAD_SIZE * 1j, -1 : 1 : _HEAD_SIZE * 1j]
    head = (columns / 0.72) ** 2 + (rows / 0.9) ** 2
    image = np.select([head < 0.80, head < 0.88, head < 1], [90.0, 30.0, 150.0], 5.0)
    grain = cv2.GaussianBlur(random.normal(0, 1, image.shape), (0, 0), 5)
    image += 60 * grain * (head < 0.8)
    (row, column), radius = random.uniform(-0.35, 0.35, 2), random.uniform(0.15, 0.25)
    mask = (columns - column) ** 2 + (1.2 * (rows - row)) ** 2 < radius**2
    soft = cv2.GaussianBlur(mask.astype(float), (0, 0), 2)
    image = image * (1 - soft) + 190 * soft + random.normal(0, 4, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), mask.astype(np.uint8)
