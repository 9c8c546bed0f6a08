"""Labels as annotators saved them: every version kept, the latest current, nothing ever half there.

A version is two files, the label map and a JSON that says what it is. The JSON is written last: a version without it is
not there, so that a server killed at any moment leaves the versions before. A label that is deleted keeps its versions
beside a tombstone, until it is restored or saved anew.
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
# Tags beside these two, in a folder of their own: nothing that a client thinks of may be called as what lies here.
_FURTHER = "tags"
TAG_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}"
_TOMBSTONE = "deleted"
CLASSES = ("normal", "benign", "malignant")
# Seconds; what is younger another server may be writing.
_LEFTOVER_AFTER = 600.0
_VERSION = re.compile(r"([0-9]{6})\.json")


@dataclass(frozen=True)
class SavedLabel:
    """One version of a label.

    Attributes:
        image: identifier of the image.
        tag: ``final`` from annotators, which trains models, ``original`` from models, or any other.
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
        for place in (one for tag in self.tags() for one in self._place_of(tag).glob("*/")):
            remove_leftovers(place, untouched_for=_LEFTOVER_AFTER)
        self._saving = threading.Lock()

    def tags(self) -> list[str]:
        """Returns the tags: the two that mean something, and those that clients thought of."""
        return [FINAL, ORIGINAL, *sorted(place.name for place in (self.folder / _FURTHER).glob("*/"))]

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
        made_by: Mapping[str, str] | None = None,
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
            made_by: the model and the hash of its weights, where one made it.

        Raises:
            BreastkitError: if the tag or the class is unknown, or the folder cannot be written.
        """
        folder = self._folder(image, tag)
        check_class(of_class)
        with self._saving:
            version = 1 + max((number for number, _ in _files(folder)), default=0)
            path = folder / f"{version:06d}{'.png' if flat else '.nii.gz'}"
            write_labels(path, labels, grid.affine)
            counts = {str(value): int((labels == value).sum()) for value in np.unique(labels) if value}
            info: dict[str, Any] = {
                "image": image,
                "labels": dict(names or {}),
                "class": of_class,
                "voxels": counts,
                "user": user,
                "saved": datetime.now(UTC).isoformat(timespec="seconds"),
                "name": path.name,
            }
            if made_by:
                info["made_by"] = dict(made_by)
            write_json(folder / f"{version:06d}.json", info)
        return SavedLabel(image, tag, version, path, info)

    def describe(self, image: str, tag: str, changes: Mapping[str, Any], *, user: str = "") -> SavedLabel:
        """Says something else of a label, as a new version with the label map of the one before.

        Args:
            image: identifier of the image.
            tag: which kind of label.
            changes: ``class`` and ``labels``, or one of them.
            user: who.

        Raises:
            BreastkitError: if there is no label, or the folder cannot be written.
        """
        with self._saving:
            before = self.current(image, tag)
            if before is None:
                raise BreastkitError(f"There is no label '{tag[:40]}' of '{image}'; save one first.")
            saved = datetime.now(UTC).isoformat(timespec="seconds")
            info = {**before.info, **changes, "user": user, "saved": saved}
            write_json(before.path.with_name(f"{before.version + 1:06d}.json"), info)
        return SavedLabel(image, tag, before.version + 1, before.path, info)

    def delete(self, image: str, tag: str, *, user: str = "") -> None:
        """Has a label count for nothing; its versions stay.

        Raises:
            BreastkitError: if there is none, or the folder cannot be written.
        """
        with self._saving:
            saved = self.current(image, tag)
            if saved is None:
                raise BreastkitError(f"There is no label '{tag[:40]}' of '{image}' to delete.")
            said = {"version": saved.version, "user": user, "deleted": datetime.now(UTC).isoformat(timespec="seconds")}
            write_json(self._folder(image, tag) / _TOMBSTONE, {"image": image, **said})

    def restore(self, image: str, tag: str) -> SavedLabel:
        """Has a deleted label count again and returns it.

        Raises:
            BreastkitError: if it was not deleted.
        """
        with self._saving:
            folder = self._folder(image, tag)
            if not _is_deleted(folder):
                raise BreastkitError(f"The label '{tag[:40]}' of '{image}' is not deleted.")
            (folder / _TOMBSTONE).unlink()
            return _read(image, tag, *list(_files(folder))[-1])

    def deleted(self, tag: str = FINAL) -> set[str]:
        """Returns the images whose label is deleted."""
        folders = (path.parent for path in self._place_of(tag).glob(f"*/{_TOMBSTONE}"))
        return {str(_tombstone_in(folder)["image"]) for folder in folders if _is_deleted(folder)}

    def current(self, image: str, tag: str = FINAL) -> SavedLabel | None:
        """Returns the latest version, None if there is no label or it is deleted."""
        folder = self._folder(image, tag)
        files = list(_files(folder))
        return _read(image, tag, *files[-1]) if files and not _is_deleted(folder) else None

    def versions(self, image: str, tag: str = FINAL) -> list[SavedLabel]:
        """Returns all versions, the oldest first."""
        return [_read(image, tag, number, path) for number, path in _files(self._folder(image, tag))]

    def labelled(self, tag: str = FINAL) -> list[str]:
        """Returns the images that have a label."""
        found = []
        for folder in sorted(self._place_of(tag).glob("*")):
            files = list(_files(folder))
            if files and not _is_deleted(folder):
                found.append(str(json.loads(files[-1][1].read_text(encoding="utf-8"))["image"]))
        return found

    def _place_of(self, tag: str) -> Path:
        if not re.fullmatch(TAG_PATTERN, tag):
            raise BreastkitError(
                f"'{tag[:40]}' is no tag of a label; use letters, digits, _ and -, at most 32, as {FINAL}."
            )
        return self.folder / tag if tag in (FINAL, ORIGINAL) else self.folder / _FURTHER / tag

    def _folder(self, image: str, tag: str) -> Path:
        # Nothing in a quoted name can leave the folder; a name of points alone could.
        return self._place_of(tag) / quote(image, safe=" ()").replace(".", "%2E")


def check_class(of_class: str | None) -> str | None:
    """Returns a class of an image, or that none was said.

    Raises:
        BreastkitError: if there is no such class.
    """
    if of_class not in (None, *CLASSES):
        raise BreastkitError(f"'{str(of_class)[:40]}' is no class of an image; choose one of {', '.join(CLASSES)}.")
    return of_class


def _is_deleted(folder: Path) -> bool:
    """Returns whether a label was deleted and not saved since."""
    if not (folder / _TOMBSTONE).is_file():
        return False
    return max((number for number, _ in _files(folder)), default=0) <= int(_tombstone_in(folder)["version"])


def _tombstone_in(folder: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((folder / _TOMBSTONE).read_text(encoding="utf-8"))
    return said


def _read(image: str, tag: str, version: int, path: Path) -> SavedLabel:
    info = json.loads(path.read_text(encoding="utf-8"))
    return SavedLabel(image, tag, version, path.with_name(str(info["name"])), info)


def _files(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in sorted(folder.glob("*.json")):
        if match := _VERSION.fullmatch(path.name):
            yield int(match[1]), path
