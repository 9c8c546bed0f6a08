"""MONAI Label's graph cut between scribbles: outlines that need no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from breastkit.bundle import Bundle
from breastkit.errors import BreastkitError
from breastkit.images import read_volume
from breastkit.server.labels.label_files import read_labels
from breastkit.server.models.prompted_models import PromptedModel
from breastkit.server.models.prompts import ADD_SCRIBBLES, ImagePrompts
from breastkit.server.models.served_models import FileOf, Prediction
from breastkit.server.security.decompressed_sizes import refuse_large_volume
from breastkit.server.studies.study_images import Grid, StudyImage, frames_of
from breastkit.server.studies.study_phases import PhasesOf, phases_beside

# Brightness between these percentiles of what is around the scribbles is spread from 0 to 1: MR has no unit, and gain
# is set anew for every ultrasound picture.
_RANGE = (1.0, 99.0)
# How far beyond the scribbles the cut looks, as a share of their extent, and at least so many voxels.
_BEYOND, _LEAST = 0.25, 8
_MOST_VOXELS = 2**22
# As MONAI Label's own tasks have them.
_BINS, _SMOOTHNESS, _SPREAD = 64, 1.0, 0.1


class ScribbleCut(PromptedModel):
    """A graph cut between strokes over what a bundle outlines and strokes over what it does not.

    Args:
        bundle: whose labels it draws.
    """

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, name=f"{bundle.name}_scribbles")
        self.task = "scribbles"
        self.description = "Graph cut between scribbles; nothing was trained for it. For research, not for diagnosis."

    @property
    def told_labels(self) -> dict[str, int]:
        """The labels; scribbles have layers of their own."""
        return self.labels

    def weights(self) -> list[Path]:
        """Returns none: there are none."""
        return []

    def version_of_weights(self) -> str:
        """Returns what stands for them."""
        return "graph-cut"

    def open(self) -> None:
        """Loads nothing."""

    def follow(
        self, image: StudyImage, prompts: ImagePrompts, file_of: FileOf, phases_of: PhasesOf = phases_beside
    ) -> Prediction:
        """Outlines what is scribbled over, as far as it looks alike."""
        self.refuse_other_form(image)
        if prompts.scribbles is None:
            raise BreastkitError(
                f"{self.name} follows scribbles alone; send them as a label file, nothing was changed."
            )
        gray, affine = _read(image, file_of)
        strokes = read_labels(prompts.scribbles.path, Grid(_shape(gray), affine), name=image.id)
        add, remove = strokes == prompts.scribbles.add, strokes == prompts.scribbles.remove
        if not add.any():
            raise BreastkitError(
                f"Nothing is scribbled over with {ADD_SCRIBBLES}; draw a stroke over what is to be outlined, nothing "
                "was changed."
            )
        if prompts.box is not None:
            outside = np.ones(add.shape, bool)
            outside[tuple(slice(max(0, low), high + 1) for low, high in zip(*prompts.box, strict=True))] = False
            remove = remove | outside
        (number,) = self.labels.values()
        return Prediction(_cut(gray, add, remove & ~add) * np.uint8(number), affine, {})


def _read(image: StudyImage, file_of: FileOf) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns an image as [column, row, slice], and its affine."""
    if image.form.is_flat:
        return np.stack([gray for gray, _ in frames_of(image)], axis=-1).swapaxes(0, 1), image.affine
    path = file_of(image)
    refuse_large_volume(path)
    volume = read_volume(path)
    return volume.array, np.asarray(volume.affine, dtype=np.float64)


def _shape(gray: NDArray[Any]) -> tuple[int, int, int]:
    columns, rows, slices = gray.shape
    return columns, rows, slices


def _cut(gray: NDArray[Any], add: NDArray[Any], remove: NDArray[Any]) -> NDArray[np.bool_]:
    # With the libraries of MONAI Label's own tasks, which read files and resample on their way here.
    from monailabel.scribbles.utils import make_iseg_unary, make_likelihood_image_histogram, maxflow

    window = _around(add, remove)
    low, high = np.percentile(gray[window], _RANGE)
    part = np.clip((gray[window].astype(np.float32) - low) / max(high - low, 1e-6), 0, 1)[None]
    strokes = (add[window] * 3 + remove[window] * 2)[None]
    likelihood = make_likelihood_image_histogram(part, strokes, 2, 3, num_bins=_BINS)
    likelihood = likelihood / likelihood.sum(0, keepdims=True)
    unary = make_iseg_unary(likelihood, strokes, 2, 3)
    # A picture is cut in two dimensions: a volume of one slice has no neighbours along the third.
    flat = part.shape[-1] == 1
    found = maxflow(*((part[..., 0], unary[..., 0]) if flat else (part, unary)), lamda=_SMOOTHNESS, sigma=_SPREAD)
    mask = np.zeros(gray.shape, bool)
    mask[window] = (found[0, ..., None] if flat else found[0]) > 0
    pieces = cc3d.connected_components(mask, connectivity=26)
    touched = np.unique(pieces[add])
    found_there: NDArray[np.bool_] = np.isin(pieces, touched[touched > 0]) | add
    return found_there


def _around(add: NDArray[Any], remove: NDArray[Any]) -> tuple[slice, ...]:
    """Returns the part of an image to cut: what is scribbled over, and something around it.

    Raises:
        BreastkitError: if that is too much at once.
    """
    # A box makes all outside of it "not this", which is no stroke to look around.
    strokes = add | (remove if remove.mean() < 0.5 else ~remove)
    places = np.argwhere(strokes)
    first, last = places.min(0), places.max(0) + 1
    beyond = np.maximum(_LEAST, np.ceil((last - first) * _BEYOND)).astype(int)
    window = tuple(
        slice(max(0, int(start - more)), min(length, int(end + more)))
        for start, end, more, length in zip(first, last, beyond, add.shape, strict=True)
    )
    if np.prod([part.stop - part.start for part in window]) > _MOST_VOXELS:
        raise BreastkitError("The scribbles spread over too much of the image; draw them in and around one lesion.")
    return window
