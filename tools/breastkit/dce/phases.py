"""The phases of a dynamic MRI study as axial pictures that a lesion network reads, and back to the study's own grid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from breastkit.dce.voxel_box import Grid
from breastkit.errors import BreastkitError
from breastkit.transforms.letterbox import Letterbox
from breastkit.transforms.letterbox_slices import letterbox_masks

if TYPE_CHECKING:
    from breastkit.dicom import Series

CHANNELS = ("pre-post-subtraction", "subtraction", "post", "pre")
DEFAULT_CHANNELS = CHANNELS[0]
# Standard deviations that become 0 and 255. Fixed, so that a lesion looks alike whatever else a scan shows.
_WINDOW = (-1.0, 5.0)
_SUBTRACTION_WINDOW = (0.0, 5.0)
# Phases that lie apart by less than this share of a voxel are on one grid: headers are rounded.
_APART = 0.1
# Parts of a mask this many pixels apart are one lesion; fragments smaller than this many pixels are none.
_GAP = 2
_SMALLEST = 4


@dataclass(frozen=True)
class DcePhases:
    """Phases of one study, turned so that every slice is axial: front at the top, the patient's right on the left.

    Attributes:
        arrays: one float32 volume [slice, row, column] a phase, before contrast first; slices run from the feet.
        grid: the study's own, that its files and all answers lie on.
        paths: what the phases were read from.
    """

    arrays: list[NDArray[Any]]
    grid: Grid
    paths: tuple[Path, ...]

    @property
    def affine(self) -> NDArray[np.float64]:
        """Voxel to RAS+ millimetres of the own grid."""
        return self.grid.affine

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the own grid."""
        return self.grid.shape

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance of slices, rows and columns in millimetres."""
        return self.grid.axial.spacing

    def axial(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Returns a volume of the own grid as [slice, row, column]."""
        return self.grid.turn(volume)

    def restore(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Returns a volume [slice, row, column] on the own grid."""
        return self.grid.restore(volume)


def read_phases(paths: Sequence[str | Path | Series]) -> DcePhases:
    """Reads the phases of a study, each a NIfTI file, the folder of one DICOM series or a series.

    Args:
        paths: the phase before contrast and the first one after it; further ones may follow.

    Raises:
        BreastkitError: if there are fewer than two, one cannot be read, or they do not lie on one grid.
    """
    # Heavy, and only needed where scans are read.
    from breastkit.dicom import Series, read_series
    from breastkit.transforms.load_volume import load_volume

    sources = list(paths)
    places = [source.files[0].parent if isinstance(source, Series) else Path(source) for source in sources]
    if len(places) < 2:
        place = places[0] if places else "The study"
        raise BreastkitError(f"{place} is a single phase; give the one before contrast and the first one after it.")
    images = (read_series(source) if isinstance(source, Series) else load_volume(source) for source in sources)
    # One after the other, so that no phase is in memory twice for longer than it takes to turn it.
    first = next(images)
    grid = Grid.of(first.array.shape, first.affine)
    arrays = [grid.turn(first.array).astype(np.float32, copy=False)]
    for path, image in zip(places[1:], images, strict=True):
        if image.array.shape != first.array.shape:
            raise BreastkitError(
                f"{path} has the shape {image.array.shape}, but {places[0]} has {first.array.shape}; resample one onto "
                "the other."
            )
        apart = grid.farthest_mm(image.affine)
        if apart > _APART * min(grid.spacing):
            raise BreastkitError(
                f"{path} lies up to {apart:.2f} mm away from {places[0]}; resample one onto the other."
            )
        arrays.append(grid.turn(image.array).astype(np.float32, copy=False))
    return DcePhases(arrays, grid, tuple(places))


def check_channels(channels: str) -> str:
    """Returns the name of a choice of channels.

    Raises:
        BreastkitError: if there is no such choice.
    """
    if channels not in CHANNELS:
        raise BreastkitError(f"{channels} is no choice of channels; give one of {', '.join(CHANNELS)}.")
    return channels


def channel_volume(phases: DcePhases, channels: str = DEFAULT_CHANNELS) -> NDArray[Any]:
    """Returns a study as colour slices, uint8 [slice, row, column, 3], at its own resolution.

    Brightness counts in standard deviations of all voxels of both phases from their mean. Phases are shown from -1 to
    5, the subtraction (first phase after contrast minus the one before) from 0 to 5.

    Args:
        phases: the study.
        channels: what red, green and blue are: all three, or one of them three times.
    """
    _, rows, columns = phases.arrays[0].shape
    return _draw(phases, channels, Letterbox(rows, columns, max(rows, columns)), (rows, columns))


def lesion_slices(
    phases: DcePhases, size: int = 224, channels: str = DEFAULT_CHANNELS, *, only: Iterable[int] | None = None
) -> tuple[NDArray[Any], Letterbox]:
    """Returns a study as the squares that lesion networks read, uint8 [slice, size, size, 3].

    Args:
        phases: the study.
        size: side of the square.
        channels: see `channel_volume`.
        only: the slices that are wanted; the others stay black, which networks are not asked about.

    Returns:
        The squares, and where the slices lie in them.
    """
    box = phases.grid.letterbox(size)
    return _draw(phases, channels, box, (size, size), only), box


def _draw(
    phases: DcePhases, channels: str, box: Letterbox, shape: tuple[int, int], only: Iterable[int] | None = None
) -> NDArray[Any]:
    check_channels(channels)
    pre, post = phases.arrays[:2]
    mean, deviation = _statistics(pre, post)
    window = box.window if shape != pre.shape[1:] else (slice(None), slice(None))
    result = np.zeros((len(pre), *shape, 3), np.uint8)
    scaled = box.scaled if shape != pre.shape[1:] else pre.shape[1:]
    interpolation = cv2.INTER_AREA if scaled[0] < box.rows else cv2.INTER_LINEAR
    for number in range(len(pre)) if only is None else set(only):
        before, after = (
            phase[number]
            if scaled == phase.shape[1:]
            else cv2.resize(phase[number], scaled[::-1], None, 0, 0, interpolation)
            for phase in (pre, post)
        )
        planes = {
            "pre": _windowed(before, mean, deviation, _WINDOW),
            "post": _windowed(after, mean, deviation, _WINDOW),
            "subtraction": _windowed(after - before, 0.0, deviation, _SUBTRACTION_WINDOW),
        }
        names = channels.split("-") if channels == DEFAULT_CHANNELS else [channels] * 3
        result[number][window] = np.stack([planes[name] for name in names], axis=-1)
    return result


def _statistics(pre: NDArray[Any], post: NDArray[Any]) -> tuple[float, float]:
    """Returns mean and standard deviation over both phases, without copying them."""
    mean = (float(pre.mean(dtype=np.float64)) + float(post.mean(dtype=np.float64))) / 2
    squares = sum(float(np.square(one - mean).sum(dtype=np.float64)) for phase in (pre, post) for one in phase)
    return mean, max(np.sqrt(squares / (pre.size + post.size)), 1e-6)


def _windowed(image: NDArray[Any], mean: float, deviation: float, window: tuple[float, float]) -> NDArray[Any]:
    low, high = (mean + edge * deviation for edge in window)
    return np.clip((image - low) * (255.0 / (high - low)) + 0.5, 0, 255).astype(np.uint8)


def mask_slices(mask: NDArray[Any], box: Letterbox) -> NDArray[Any]:
    """Returns an axial mask as squares that lie on those of `lesion_slices`, 0 and 1, uint8."""
    return (letterbox_masks(np.asarray(mask) > 0, box) > 0.5).astype(np.uint8)


def slice_boxes(mask: NDArray[Any]) -> list[list[float]]:
    """Returns the boxes x0, y0, x1, y1 of the parts of a two-dimensional mask, in pixels, outer edges.

    Parts closer than three pixels share a box; fragments under four pixels have none.
    """
    mask = (np.asarray(mask) > 0).astype(np.uint8)
    if not mask.any():
        return []
    joined = cv2.dilate(mask, np.ones((_GAP + 1, _GAP + 1), np.uint8))
    _, labels = cv2.connectedComponents(joined, connectivity=8)
    boxes = []
    for number in range(1, int(labels.max()) + 1):
        rows, columns = np.nonzero((labels == number) & (mask > 0))
        if rows.size >= _SMALLEST:
            boxes.append([float(v) for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)])
    return boxes
