"""Breast ultrasound in: pictures, single DICOM images, and every frame of DICOM clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breastkit.dicom import count_us_frames, is_dicom, read_us_colour_share, read_us_frame, us_tissue_window
from breastkit.errors import BreastkitError
from breastkit.images import DICOM_SUFFIXES, PICTURE_SUFFIXES, read_colour_share, read_gray
from breastkit.inference.inputs import Inputs, find_inputs
from breastkit.inference.tissue_window import EVERYTHING, tissue_window

# Less between the darkest and the brightest pixel is nothing to look at.
_CONTRAST = 8


@dataclass(frozen=True)
class UltrasoundPicture:
    """One picture to be read.

    Attributes:
        gray: the whole picture, 8-bit gray.
        window: rows and columns that show tissue: as a DICOM image says, otherwise what a screen frames, or all.
        colour: share of its pixels that are not gray.
        is_screen: whether the window was found in a picture of a scanner's screen.
    """

    gray: NDArray[Any]
    window: tuple[slice, slice]
    colour: float = 0.0
    is_screen: bool = False

    @property
    def tissue(self) -> NDArray[Any]:
        """The part that shows tissue."""
        return self.gray[self.window]

    def on_whole(self, part: NDArray[Any]) -> NDArray[Any]:
        """Returns what was made for the tissue on the grid of the whole picture, zero elsewhere."""
        whole = np.zeros(self.gray.shape, part.dtype)
        whole[self.window] = part
        return whole


def find_ultrasound(place: str | Path, *, outputs: tuple[str, ...] = ()) -> Inputs:
    """Finds pictures and ultrasound objects; every frame of a clip is an input of its own.

    Args:
        place: a picture, an ultrasound DICOM file, a folder with such files directly in it, or one whose sub-folders
            have them.
        outputs: what is appended to a picture's name for outputs; such files of an earlier run are left aside.

    Returns:
        The inputs: each ``item`` has ``image`` (path), ``name`` (what its outputs begin with), ``file`` (what tables
        call it) and, for frames of clips, ``frame`` (from 0).

    Raises:
        BreastkitError: if there is nothing to run on, or two inputs would write files of the same name.
    """
    found = _found(Path(place).expanduser(), outputs)
    items = [item for each in found.items for item in _frames(each)]
    counts = Counter(item["name"] for item in items)
    for item in items:
        if counts[item["name"]] > 1:
            twins = " and ".join(other["file"] for other in items if other["name"] == item["name"])
            raise BreastkitError(f"{twins} in {place} would write outputs of the same name; rename one.")
    return Inputs(items, found.skipped)


def _found(place: Path, outputs: tuple[str, ...]) -> Inputs:
    """Returns the files, those of sub-folders where there is none in the folder itself."""
    folders = [place]
    if place.is_dir() and not _holds_pictures(place):
        below = sorted(path for path in place.iterdir() if path.is_dir() and path.name[0] != ".")
        folders = [path for path in below if _holds_pictures(path)] or [place]
    parts = [
        find_inputs(folder, suffixes=PICTURE_SUFFIXES, series=False, ultrasound=True, outputs=outputs)
        for folder in folders
    ]
    return Inputs([item for part in parts for item in part.items], [each for part in parts for each in part.skipped])


def _holds_pictures(folder: Path) -> bool:
    files = (path for path in folder.iterdir() if path.is_file() and "_mask" not in path.name)
    return any(path.name.lower().endswith(PICTURE_SUFFIXES) or _is_dicom(path) for path in files)


def read_ultrasound(item: Mapping[str, Any]) -> UltrasoundPicture:
    """Reads what an item of `find_ultrasound` names.

    Raises:
        BreastkitError: if it cannot be read, or shows nothing at all.
    """
    path, frame = Path(item["image"]), item.get("frame", 0)
    if _is_dicom(path):
        gray, window, colour = read_us_frame(path, frame), us_tissue_window(path), read_us_colour_share(path, frame)
    else:
        gray, window, colour = read_gray(path), EVERYTHING, read_colour_share(path)
    found = tissue_window(gray) if window == EVERYTHING else EVERYTHING
    is_screen = found != EVERYTHING
    picture = UltrasoundPicture(gray, found if is_screen else window, colour, is_screen)
    if int(picture.tissue.max()) - int(picture.tissue.min()) < _CONTRAST:
        raise BreastkitError(f"{path} is of one gray value throughout, so nothing can be said of it; export it again.")
    return picture


def _frames(item: dict[str, str]) -> list[dict[str, Any]]:
    path = Path(item["image"])
    plain = {"image": item["image"], "name": item["name"], "file": path.name}
    if not _is_dicom(path):
        return [plain]
    try:
        count = count_us_frames(path)
    except BreastkitError:
        # Reading it for the run gives the sentence.
        return [plain]
    if count == 1:
        return [plain]
    names = [f"frame{number:0{len(str(count))}d}" for number in range(1, count + 1)]
    return [
        plain | {"frame": number, "name": f"{item['name']}_{frame}", "file": f"{path.name}#{frame}"}
        for number, frame in enumerate(names)
    ]


def _is_dicom(path: Path) -> bool:
    return path.name.lower().endswith(DICOM_SUFFIXES) or is_dicom(path)
