"""Labels as annotators saved them: every version kept, the latest current, nothing ever half there.

What a reader has drawn is kept under a tag of their own, ``reader:anna``; ``final`` is what counts of all of it, as
`breastkit.server.labels.readings` makes it.

A version is two files, the label map and a JSON that says what it is. The JSON is written last: a version without it is
not there, so that a server killed at any moment leaves the versions before. A label that is deleted keeps its versions
beside a tombstone, until it is restored or saved anew.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from breastkit.atomic import make_folder, remove_leftovers, write_json
from breastkit.errors import BreastkitError
from breastkit.records import read_record, set_aside
from breastkit.server.labels.label_files import write_labels
from breastkit.server.studies.study_images import Grid

FINAL = "final"
ORIGINAL = "original"
# Tags beside these two, in a folder of their own: nothing that a client thinks of may be called as what lies here.
_FURTHER = "tags"
TAG_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}"
_OF_READER, _READERS = "reader:", "readers"
# As `breastkit.server.security.users` has the names of users.
READER_PATTERN = rf"{_OF_READER}[A-Za-z0-9._-]{{1,64}}"
_TOMBSTONE = "deleted"
NORMAL = "normal"
CLASSES = (NORMAL, "benign", "malignant")
# Seconds; what is younger another server may be writing.
_LEFTOVER_AFTER = 600.0
_VERSION, _NUMBER = re.compile(r"([0-9]{6})\.json"), re.compile(r"[0-9]{6}(?=\.json)")
# Bytes of a folder's name, of which most file systems take 255.
_LONGEST_NAME, _SHORTENED_TO = 255, 200


@dataclass(frozen=True)
class SavedLabel:
    """One version of a label.

    Attributes:
        image: identifier of the image.
        tag: ``final``, which trains models, ``reader:NAME`` of one annotator, ``original`` from models, or any other.
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
        """Returns the tags: the two that mean something, those of readers, and those that clients thought of."""
        further = sorted(place.name for place in (self.folder / _FURTHER).glob("*/"))
        return [FINAL, ORIGINAL, *map(reader_tag, self.readers()), *further]

    def readers(self) -> list[str]:
        """Returns the names of those who have saved labels of their own."""
        return sorted(unquote(place.name) for place in (self.folder / _READERS).glob("*/"))

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
        facts: Mapping[str, Any] | None = None,
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
            facts: what else is to be kept with it: of a reader's label its round, of a consensus what it is of.

        Raises:
            BreastkitError: if the tag or the class is unknown, or the folder cannot be written.
        """
        folder = self._folder(image, tag)
        check_class(of_class)
        with self._saving:
            version = 1 + max(_numbers(folder), default=0)
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
            info |= facts or {}
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
            version = 1 + max(_numbers(before.path.parent))
            write_json(before.path.with_name(f"{version:06d}.json"), info)
        return SavedLabel(image, tag, version, before.path, info)

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
            saved = self._latest(folder, tag)
            if saved is None or saved.version > _deleted_at(folder):
                raise BreastkitError(f"The label '{tag[:40]}' of '{image}' is not deleted.")
            (folder / _TOMBSTONE).unlink()
            return saved

    def deleted(self, tag: str = FINAL) -> set[str]:
        """Returns the images whose label is deleted."""
        folders = (path.parent for path in self._place_of(tag).glob(f"*/{_TOMBSTONE}"))
        found = {folder: self._latest(folder, tag) for folder in folders}
        return {saved.image for folder, saved in found.items() if saved and saved.version <= _deleted_at(folder)}

    def current(self, image: str, tag: str = FINAL) -> SavedLabel | None:
        """Returns the latest version, None if there is no label or it is deleted."""
        return self._current_in(self._folder(image, tag), tag)

    def versions(self, image: str, tag: str = FINAL) -> list[SavedLabel]:
        """Returns all versions, the oldest first."""
        found = (self._read(tag, number, path) for number, path in _files(self._folder(image, tag)))
        return [saved for saved in found if saved is not None]

    def labelled(self, tag: str = FINAL) -> list[str]:
        """Returns the images that have a label."""
        return [saved.image for saved in self.all_current(tag)]

    def all_current(self, tag: str = FINAL) -> list[SavedLabel]:
        """Returns the latest version of every label that is not deleted."""
        found = (self._current_in(folder, tag) for folder in sorted(self._place_of(tag).glob("*")))
        return [saved for saved in found if saved is not None]

    def _current_in(self, folder: Path, tag: str) -> SavedLabel | None:
        saved = self._latest(folder, tag)
        return None if saved is None or saved.version <= _deleted_at(folder) else saved

    def _latest(self, folder: Path, tag: str) -> SavedLabel | None:
        """Returns the latest version that is whole, deleted or not; what is damaged is set aside."""
        found = (self._read(tag, number, path) for number, path in reversed(list(_files(folder))))
        return next((saved for saved in found if saved is not None), None)

    def _read(self, tag: str, version: int, path: Path) -> SavedLabel | None:
        info = read_record(path, _checked)
        if info is None:
            return None
        label = path.with_name(info["name"])
        if self._folder(info["image"], tag).name != path.parent.name or not label.is_file():
            set_aside(path, f"its label map {label.name} is not there")
            return None
        return SavedLabel(info["image"], tag, version, label, info)

    def _place_of(self, tag: str) -> Path:
        if re.fullmatch(READER_PATTERN, tag):
            return self.folder / _READERS / folder_name(tag.removeprefix(_OF_READER))
        if not re.fullmatch(TAG_PATTERN, tag):
            raise BreastkitError(
                f"'{tag[:40]}' is no tag of a label; use letters, digits, _ and -, at most 32, as {FINAL}."
            )
        return self.folder / tag if tag in (FINAL, ORIGINAL) else self.folder / _FURTHER / tag

    def _folder(self, image: str, tag: str) -> Path:
        return self._place_of(tag) / folder_name(image)


def reader_tag(reader: str) -> str:
    """Returns the tag under which a reader's own labels are kept."""
    return f"{_OF_READER}{reader}"


def reader_of(tag: str) -> str | None:
    """Returns whose labels a tag keeps, None if it is no reader's."""
    return tag.removeprefix(_OF_READER) if tag.startswith(_OF_READER) else None


def folder_name(name: str) -> str:
    """Returns the name of an image, or a reader, as that of a folder: nothing in it can leave where it lies."""
    # A name of points alone could.
    quoted = quote(name, safe=" ()").replace(".", "%2E")
    if len(quoted) > _LONGEST_NAME:
        # Six characters for every letter that is not English. No quoted name has % before anything but a number.
        quoted = f"{quoted[:_SHORTENED_TO]}%~{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    return quoted


def check_class(of_class: str | None) -> str | None:
    """Returns a class of an image, or that none was said.

    Raises:
        BreastkitError: if there is no such class.
    """
    if of_class not in (None, *CLASSES):
        raise BreastkitError(f"'{str(of_class)[:40]}' is no class of an image; choose one of {', '.join(CLASSES)}.")
    return of_class


def _deleted_at(folder: Path) -> int:
    """Returns the version up to which a label was deleted, 0 where it was not."""
    return read_record(folder / _TOMBSTONE, lambda said: int(said["version"])) or 0


def _checked(info: Any) -> dict[str, Any]:
    """Returns what a version's JSON says if it says what is read of it; raises what Python does if not."""
    if info["class"] not in (None, *CLASSES) or Path(info["name"]).name != info["name"]:
        raise ValueError(info["name"])
    numbers = [*info["labels"].values(), *info["voxels"].values(), *map(int, info["voxels"])]
    if not isinstance(info["image"], str) or not all(isinstance(number, int) for number in numbers):
        raise TypeError(info["image"])
    return dict(info)


def _numbers(folder: Path) -> list[int]:
    """Returns the numbers of all versions, those that were set aside too: nothing of them is written over."""
    return [int(match[0]) for path in folder.glob("*.json*") if (match := _NUMBER.match(path.name))]


def _files(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in sorted(folder.glob("*.json")):
        if match := _VERSION.fullmatch(path.name):
            yield int(match[1]), path
