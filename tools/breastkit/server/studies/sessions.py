"""Images that a client lends for some inferences: kept for an hour, under names nobody can guess."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from breastkit.atomic import make_folder
from breastkit.dicomweb.folder_index import FolderIndex
from breastkit.errors import BreastkitError
from breastkit.images import MOST_PIXELS, PICTURE_SUFFIXES, VOLUME_SUFFIXES, is_volume, read_header, write_png
from breastkit.pictures import to_gray8
from breastkit.server.security.decompressed_sizes import refuse_growing_volume
from breastkit.server.studies.study_images import DicomImages, Form, StudyImage, StudyImages
from breastkit.temporary import remove_abandoned_folders, temporary_folder

_KEPT_FOR_SECONDS = 3600.0
_MOST = 32


@dataclass(frozen=True)
class Session:
    """What a client lent.

    Attributes:
        image: what models run on.
        images: what it is one of, where several files of DICOM were lent.
        folder: where it lies.
        kept_for: seconds from when it was lent, or last asked to be kept.
        until: when it is forgotten, by the clock that never goes back.
    """

    image: StudyImage
    images: StudyImages | None
    folder: Path
    kept_for: float
    until: float


class Sessions:
    """Keeps lent images in a folder of their own, which is removed at the end."""

    def __init__(self) -> None:
        remove_abandoned_folders()
        self._until_closed = ExitStack()
        self._folder = self._until_closed.enter_context(temporary_folder("sessions"))
        self._sessions: dict[str, Session] = {}
        self._changing = threading.Lock()

    def add(self, files: Sequence[tuple[str, bytes]], *, kept_for: float = 0) -> str:
        """Takes an image, the phases of a study, or DICOM files, and returns the identifier of their session.

        Args:
            files: name, of which only the suffix is used, and content of each; of phases in their order.
            kept_for: seconds; an hour by default and at most.

        Raises:
            BreastkitError: if it is no image, or too many are lent.
        """
        session = secrets.token_hex(16)
        folder = self._folder / session
        folder.mkdir()
        kept_for = min(kept_for or _KEPT_FOR_SECONDS, _KEPT_FOR_SECONDS)
        try:
            image, images = _lent(files, folder)
        except Exception:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with self._changing:
            self._forget_old()
            if len(self._sessions) >= _MOST:
                shutil.rmtree(folder, ignore_errors=True)
                raise BreastkitError(f"There are {_MOST} sessions already; end one or wait.")
            self._sessions[session] = Session(image, images, folder, kept_for, time.monotonic() + kept_for)
        return session

    def find(self, session: str, *, keep: bool = False) -> Session | None:
        """Returns a session, None if there is no such.

        Args:
            session: its identifier.
            keep: as long from now as when it was lent.
        """
        with self._changing:
            self._forget_old()
            found = self._sessions.get(session)
            if found and keep:
                found = self._sessions[session] = replace(found, until=time.monotonic() + found.kept_for)
            return found

    def remove(self, session: str) -> bool:
        """Ends a session and tells whether there was one."""
        with self._changing:
            found = self._sessions.pop(session, None)
            if found:
                shutil.rmtree(found.folder, ignore_errors=True)
            return found is not None

    def close(self) -> None:
        """Removes everything."""
        self._until_closed.close()

    def _forget_old(self) -> None:
        for session, one in list(self._sessions.items()):
            if one.until < time.monotonic():
                del self._sessions[session]
                shutil.rmtree(one.folder, ignore_errors=True)


def _lent(files: Sequence[tuple[str, bytes]], folder: Path) -> tuple[StudyImage, StudyImages | None]:
    """Writes what a client lends into a folder, under names of ours, and returns the image to run on."""
    if len(files) == 1 and not _looks_like_dicom(files[0][1]):
        return image_of_upload(files[0][1], files[0][0], folder), None
    place = make_folder(folder / "files")
    if all(_looks_like_dicom(data) for _, data in files):
        for number, (_, data) in enumerate(files):
            (place / f"{number:06d}.dcm").write_bytes(data)
        images = DicomImages(FolderIndex((place,)), folder / "volumes")
        first = next(iter(images.all().values()), None)
        if first is None:
            raise BreastkitError("The DICOM files hold no MR, US or CT images; send such.")
        return first, images
    if not all(name.lower().endswith(VOLUME_SUFFIXES) for name, _ in files):
        raise BreastkitError(
            "A session holds one image, the phases of one study as NIfTI in their order, or DICOM files; send such."
        )
    # Named as phases are, the phase before contrast first.
    phases = []
    for number, (name, data) in enumerate(files):
        suffix = ".nii.gz" if name.lower().endswith(".gz") else ".nii"
        phases.append(place / f"image_{number:04d}{suffix}")
        phases[-1].write_bytes(data)
        try:
            refuse_growing_volume(phases[-1])
        except BreastkitError as error:
            raise BreastkitError(str(error).replace(str(phases[-1]), f"Image {number + 1}")) from error
    return StudyImage("image", Form.VOLUME, (phases[0],)), None


def _looks_like_dicom(data: bytes) -> bool:
    return data[128:132] == b"DICM"


def image_of_upload(data: bytes, name: str, folder: Path) -> StudyImage:
    """Returns an image that came with a request, written into a folder under a name of ours.

    Raises:
        BreastkitError: if it is no image.
    """
    suffix = next((end for end in (*VOLUME_SUFFIXES, *PICTURE_SUFFIXES) if name.lower().endswith(end)), "")
    path = folder / f"image{suffix}"
    path.write_bytes(data)
    try:
        return image_of_file(path)
    except BreastkitError as error:
        raise BreastkitError(str(error).replace(str(path), "The image")) from error


def image_of_file(path: Path) -> StudyImage:
    """Returns an image that belongs to no store.

    Raises:
        BreastkitError: if it is no image.
    """
    if not path.name.lower().endswith((*VOLUME_SUFFIXES, *PICTURE_SUFFIXES)):
        raise BreastkitError("Images are .nii, .nii.gz, .png, .jpg, .tif and .bmp; send one of these.")
    if not is_volume(path):
        read_header(path)
        return StudyImage("image", Form.PICTURE, (path,))
    refuse_growing_volume(path)
    return _picture_in(path) or StudyImage("image", Form.VOLUME, (path,))


def _picture_in(path: Path) -> StudyImage | None:
    """Returns a NIfTI of one slice as a picture, as 3D Slicer sends those it shows; None if it has more slices.

    Raises:
        BreastkitError: if its pixels are no picture.
    """
    shape = read_header(path).shape
    if len(shape) < 2 or any(size != 1 for size in shape[2:4]) or shape[4:] not in ((), (1,), (3,), (4,)):
        return None
    if shape[0] * shape[1] > MOST_PIXELS:
        raise BreastkitError(f"{path} has {shape[0]}x{shape[1]} pixels, too many; crop or shrink it.")
    import nibabel

    volume: Any = nibabel.load(path)
    array = np.asarray(volume.dataobj)
    # Colours are fields of a pixel, or a fifth dimension.
    if array.dtype.names:
        array = np.stack([array[name] for name in array.dtype.names], axis=-1)
    array = array.reshape(*shape[:2], -1)[:, :, :3].swapaxes(0, 1)
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise BreastkitError(f"{path} holds no gray values or colours; save the picture as PNG.")
    if array.min() < 0 or array.max() > 255 or (array != np.round(array)).any():
        array = to_gray8(array, percentiles=(0, 100))
    picture = write_png(path.with_name("picture.png"), array if array.shape[2] == 3 else array[:, :, 0])
    return StudyImage("image", Form.PICTURE, (picture,), affine=np.asarray(volume.affine, dtype=np.float64))
