"""Labels as annotators saved them: every version kept, the latest current, nothing ever half there.

A version is two files, the label map and a JSON that says what it is. The JSON is written last: a version without it is
not there, so that a server killed at any moment leaves the versions before.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from breastkit.atomic import make_folder, remove_leftovers, write_json
from breastkit.errors import BreastkitError
from breastkit.server.labels.label_files import write_labels
from breastkit.server.studies.study_images import Grid

FINAL = "final"
ORIGINAL = "original"
TAGS = (FINAL, ORIGINAL)
CLASSES = ("normal", "benign", "malignant")
# Seconds; what is younger another server may be writing.
_LEFTOVER_AFTER = 600.0
_VERSION = re.compile(r"([0-9]{6})\.json")


@dataclass(frozen=True)
class SavedLabel:
    """One version of a label.

    Attributes:
        image: identifier of the image.
        tag: ``final`` from annotators, ``original`` from models.
        version: from 1.
        path: of the label map.
        info: names of the labels, class of the image, who saved it and when.
    """

    image: str
    tag: str
    version: int
    path: Path
    info: Mapping[str, Any]


class SavedLabels:
    """Keeps labels in a folder.

    Args:
        folder: made when missing.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = make_folder(folder)
        for place in (one for tag in TAGS for one in (self.folder / tag).glob("*/")):
            remove_leftovers(place, untouched_for=_LEFTOVER_AFTER)
        self._saving = threading.Lock()

    def save(
        self,
        image: str,
        labels: NDArray[Any],
        grid: Grid,
        *,
        tag: str = FINAL,
        names: Mapping[str, int] | None = None,
        of_class: str | None = None,
        user: str = "",
        flat: bool = False,
    ) -> SavedLabel:
        """Saves a label as a new version and returns it.

        Args:
            image: identifier of the image.
            labels: on the image's grid.
            grid: of the image.
            tag: which kind of label.
            names: numbers of the labels by name.
            of_class: normal, benign or malignant, where the annotator said so.
            user: who.
            flat: as PNG, for one picture.

        Raises:
            BreastkitError: if the tag or the class is unknown, or the folder cannot be written.
        """
        folder = self._folder(image, tag)
        if of_class not in (None, *CLASSES):
            raise BreastkitError(f"'{str(of_class)[:40]}' is no class of an image; choose one of {', '.join(CLASSES)}.")
        with self._saving:
            version = 1 + max((number for number, _ in _files(folder)), default=0)
            path = folder / f"{version:06d}{'.png' if flat else '.nii.gz'}"
            write_labels(path, labels, grid.affine)
            counts = {str(value): int((labels == value).sum()) for value in np.unique(labels) if value}
            info = {
                "image": image,
                "labels": dict(names or {}),
                "class": of_class,
                "voxels": counts,
                "user": user,
                "saved": datetime.now(UTC).isoformat(timespec="seconds"),
                "name": path.name,
            }
            write_json(folder / f"{version:06d}.json", info)
        return SavedLabel(image, tag, version, path, info)

    def current(self, image: str, tag: str = FINAL) -> SavedLabel | None:
        """Returns the latest version, None if there is no label."""
        files = list(_files(self._folder(image, tag)))
        return _read(image, tag, *files[-1]) if files else None

    def versions(self, image: str, tag: str = FINAL) -> list[SavedLabel]:
        """Returns all versions, the oldest first."""
        return [_read(image, tag, number, path) for number, path in _files(self._folder(image, tag))]

    def labelled(self, tag: str = FINAL) -> list[str]:
        """Returns the images that have a label."""
        found = []
        for folder in sorted((self.folder / tag).glob("*")):
            files = list(_files(folder))
            if files:
                found.append(str(json.loads(files[-1][1].read_text(encoding="utf-8"))["image"]))
        return found

    def _folder(self, image: str, tag: str) -> Path:
        if tag not in TAGS:
            raise BreastkitError(f"'{tag[:40]}' is no tag of a label; use one of {', '.join(TAGS)}.")
        # Nothing in a quoted name can leave the folder; a name of points alone could.
        return self.folder / tag / quote(image, safe=" ()").replace(".", "%2E")


def _read(image: str, tag: str, version: int, path: Path) -> SavedLabel:
    info = json.loads(path.read_text(encoding="utf-8"))
    return SavedLabel(image, tag, version, path.with_name(str(info["name"])), info)


def _files(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in sorted(folder.glob("*.json")):
        if match := _VERSION.fullmatch(path.name):
            yield int(match[1]), path
