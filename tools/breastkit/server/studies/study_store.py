"""Images of a place and the labels that belong to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breastkit.atomic import make_folder
from breastkit.dicom.read_series import is_dicom
from breastkit.dicom.source_images import read_source_images
from breastkit.dicom.write_seg import Algorithm, Segment, write_segmentation
from breastkit.dicomweb.folder_index import FolderIndex
from breastkit.dicomweb.stored_folder import StoredFolder
from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.server.labels.label_files import labels_of, read_labels
from breastkit.server.labels.saved_labels import (
    CLASSES,
    FINAL,
    NORMAL,
    SavedLabel,
    SavedLabels,
    check_class,
    reader_of,
)
from breastkit.server.studies.remote_images import RemoteImages
from breastkit.server.studies.study_images import (
    DicomImages,
    FileImages,
    Form,
    StudyImage,
    StudyImages,
    grid_of_file,
    refuse_missing_studies,
    series_of,
)
from breastkit.temporary import temporary_folder

_log = get_logger(__name__)
LABELS_FOLDER = "labels"
NAME, DESCRIPTION = "breastkit", "Images and labels"
# Versions of labels are series of their own, numbered from here: beyond what scanners count to.
_FIRST_SERIES = 900
# "lesion 2" is a lesion.
_FURTHER = re.compile(r" [0-9]+$")


@dataclass(frozen=True)
class SegmentationHeader:
    """What a DICOM segmentation of a label says beside its masks.

    Attributes:
        number: SeriesNumber.
        description: SeriesDescription.
        content: ContentDescription.
        creator: who saved it.
        algorithms: what made a segment, by its name; those of which nothing is said were drawn by hand.
    """

    number: int = _FIRST_SERIES
    description: str = "Segmentation"
    content: str = ""
    creator: str = ""
    algorithms: Mapping[str, Algorithm] = field(default_factory=dict)


class StudyStore:
    """The images of a place and the labels that belong to them.

    Args:
        images: the images.
        folder: for labels and what else is kept.
        kinds: what labels show, by their name, for DICOM segmentations.
        dicom: takes segmentations, where the images are a folder of DICOM.
    """

    def __init__(
        self,
        images: StudyImages,
        folder: str | Path,
        *,
        kinds: Mapping[str, Any] | None = None,
        dicom: StoredFolder | None = None,
    ) -> None:
        self.images, self.folder, self.dicom = images, make_folder(folder), dicom
        self.labels = SavedLabels(self.folder)
        self.kinds = dict(kinds or {})

    def image(self, image_id: str) -> StudyImage:
        """Returns an image.

        Raises:
            BreastkitError: if there is none of this name.
        """
        return self.images.get(image_id)

    def save(
        self,
        image_id: str,
        sent: Path,
        *,
        tag: str = FINAL,
        params: Mapping[str, Any] | None = None,
        user: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> SavedLabel:
        """Saves what an annotator sent: on the image's grid, and as a segmentation where the images are DICOM.

        Args:
            image_id: which image.
            sent: the file as it came.
            tag: which kind of label.
            params: names of the labels and the class, as viewers send them.
            user: who.
            facts: what else is to be kept with it.

        Raises:
            BreastkitError: if it is refused; the sentence says why.
        """
        image = self.image(image_id)
        grid = self.images.grid_of(image)
        labels = read_labels(sent, grid, name=image_id)
        names, of_class = names_and_class(params or {}, labels)
        drawn_by_hand = tag == FINAL or reader_of(tag) is not None
        is_meant = of_class == NORMAL or (params or {}).get("nothing") is True
        if drawn_by_hand and not labels.any() and not is_meant:
            raise BreastkitError(
                f"The label of '{image_id}' is empty and not saved; where there is nothing to outline, say so with the "
                f'class {NORMAL}, a segment of this name, or "nothing": true among the parameters.'
            )
        segmentation = None
        if tag == FINAL:
            before = self.labels.versions(image_id)
            version = 1 + (before[-1].version if before else 0)
            told = header_of(image, version, of_class, user=user, algorithms=algorithms_of(params or {}))
            segmentation = self._as_segmentation(image, labels, grid.affine, names, told)
        saved = self.labels.save(
            image_id,
            labels,
            grid,
            tag=tag,
            names=names,
            of_class=of_class,
            user=user,
            flat=image.form is Form.PICTURE,
            facts=facts,
        )
        if segmentation is not None:
            self._store_segmentation(segmentation)
        return saved

    def store_as_segmentation(self, saved: SavedLabel) -> None:
        """Stores a label as a segmentation of its image, where the images are DICOM; the log says if that fails."""
        try:
            image = self.image(saved.image)
            affine = self.images.grid_of(image).affine
            told = header_of(image, saved.version, saved.info["class"], user=str(saved.info["user"]))
            data = self._as_segmentation(image, labels_of(saved.path), affine, saved.info["labels"], told)
            if data is not None:
                self._store_segmentation(data)
        except BreastkitError as error:
            _log.warning("The label of %s is saved; its segmentation is not: %s", saved.image, error)

    def write_segmentation(
        self,
        path: Path,
        image: StudyImage,
        labels: NDArray[Any],
        affine: NDArray[Any],
        names: Mapping[str, int],
        *,
        told: SegmentationHeader,
    ) -> Path:
        """Writes a label map as a DICOM segmentation of its image.

        Raises:
            BreastkitError: if the image is no DICOM, or several files of pictures.
        """
        source: Any
        if image.form is Form.SERIES:
            source = read_source_images(series_of(image))
        elif image.form is Form.FRAMES and len(image.files) == 1:
            source = image.files[0]
        else:
            raise BreastkitError(f"'{image.id}' is not one DICOM object or volume; ask for .nrrd or .nii.gz.")
        segments = []
        for name, number in sorted(names.items(), key=lambda item: item[1]):
            mask = labels == number
            if image.form is Form.FRAMES:
                mask = mask.transpose(2, 1, 0)
                mask = mask if len(mask) > 1 else mask[0]
            kind = self.kinds.get(name) or self.kinds.get(_FURTHER.sub("", name), "breast_lesion")
            segments.append(Segment(kind, mask, told.algorithms.get(name), label=name))
        volume = affine if image.form is Form.SERIES else None
        return write_segmentation(
            path,
            segments,
            source,
            affine=volume,
            series_number=told.number,
            description=told.description,
            content=told.content,
            creator=told.creator[:64],
        )

    def file_of(self, image_id: str) -> Path:
        """Returns an image as one file, made of its series where it is DICOM.

        Raises:
            BreastkitError: if there is none of this name, or it cannot be read.
        """
        return self.images.file_of(self.image(image_id))

    def labelled(self) -> list[str]:
        """Returns the images with a label, saved here or stored as a segmentation."""
        # A segmentation that was stored with a label is no label any more when that is deleted.
        known = set(self.labels.labelled()) | (self._with_segmentation() - self.labels.deleted())
        return [image_id for image_id in self.images.all() if image_id in known]

    def unlabelled(self) -> list[str]:
        """Returns the images without a label."""
        done = set(self.labelled())
        return [image_id for image_id in self.images.all() if image_id not in done]

    def label(self, image_id: str, tag: str, *, version: int | None = None) -> SavedLabel:
        """Returns a version of an image's label, by default the current one.

        Raises:
            BreastkitError: if there is no such image, or no label of it.
        """
        self.image(image_id)
        saved = self.labels.current(image_id, tag)
        if saved is not None and version is not None:
            saved = next((one for one in self.labels.versions(image_id, tag) if one.version == version), None)
        if saved is None:
            which = f"version {version} of the label" if version is not None else "label"
            raise BreastkitError(f"There is no {which} '{tag[:40]}' of '{image_id}'; save one first.")
        return saved

    def versions(self, image_id: str, tag: str) -> list[SavedLabel]:
        """Returns all versions of an image's label, the oldest first; none where it has none or it is deleted.

        Raises:
            BreastkitError: if there is no such image.
        """
        self.image(image_id)
        return self.labels.versions(image_id, tag) if self.labels.current(image_id, tag) is not None else []

    def describe(
        self,
        image_id: str,
        tag: str,
        params: Mapping[str, Any],
        *,
        user: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> SavedLabel:
        """Says something else of an image's label: its class, or the names of its labels, as they are sent with one.

        A reader who has none yet takes over what counts.

        Raises:
            BreastkitError: if there is no such label, or it cannot be said of it.
        """
        own = self.labels.current(image_id, tag) is not None or reader_of(tag) is None
        saved = self.label(image_id, tag if own else FINAL)
        if not {"class", "labels", "label_info", "label_names"} & set(params):
            raise BreastkitError("Of a label 'class' and 'labels' (numbers by name) can be changed; send one of these.")
        given = {"label_names": params.get("labels") or saved.info["labels"], **params}
        numbers = np.array([int(number) for number in saved.info["voxels"]], dtype=np.uint8)
        names, of_class = names_and_class(given, numbers)
        # What was said of it stays, unless something else is said, be it by a name.
        of_class = params["class"] if "class" in params else of_class or saved.info["class"]
        of_class = check_class(of_class)
        if own:
            changes = {"class": of_class, "labels": names, **(facts or {})}
            return self.labels.describe(image_id, tag, changes, user=user)
        labels, grid = labels_of(saved.path), grid_of_file(saved.path)
        flat = saved.path.suffix == ".png"
        return self.labels.save(
            image_id, labels, grid, tag=tag, names=names, of_class=of_class, user=user, flat=flat, facts=facts
        )

    def status(self) -> dict[str, Any]:
        """Returns how many images there are and how many of them have labels."""
        done = len(self.labelled())
        others = {tag: len(self.labels.labelled(tag)) for tag in self.labels.tags() if tag != FINAL}
        tags = {tag: count for tag, count in {FINAL: done, **others}.items() if count}
        return {"total": len(self.images.all()), "completed": done, "label_tags": tags}

    def listing(self) -> dict[str, Any]:
        """Returns all images with their labels."""
        objects, tags = {}, self.labels.tags()
        for image_id, image in self.images.all().items():
            saved = {tag: self.labels.current(image_id, tag) for tag in tags}
            labels = {tag: {"ext": "", "info": info_of(one)} for tag, one in saved.items() if one}
            objects[image_id] = {"image": {"ext": "", "info": dict(image.info)}, "labels": labels}
        return {"name": NAME, "description": DESCRIPTION, "objects": objects}

    def _as_segmentation(
        self,
        image: StudyImage,
        labels: NDArray[Any],
        affine: NDArray[Any],
        names: Mapping[str, int],
        told: SegmentationHeader,
    ) -> bytes | None:
        """Returns the segmentation to store beside the label, None where the images are no DICOM."""
        if image.form is Form.SERIES or (image.form is Form.FRAMES and len(image.files) == 1):
            with temporary_folder("label") as folder:
                path = folder / "label.dcm"
                return self.write_segmentation(path, image, labels, affine, names, told=told).read_bytes()
        return None

    def _store_segmentation(self, data: bytes) -> None:
        if self.dicom is not None:
            outcome = self.dicom.store([data])[0]
            if outcome.stored is None:
                _log.warning("The label is saved; its segmentation is not: %s", outcome.sentence)
        elif isinstance(self.images, RemoteImages):
            with temporary_folder("label") as folder:
                path = folder / "label.dcm"
                path.write_bytes(data)
                self.images.store(path)

    def _with_segmentation(self) -> set[str]:
        """Returns the series that stored segmentations refer to."""
        if isinstance(self.images, RemoteImages):
            return self.images.labelled()
        if not isinstance(self.images, DicomImages):
            return set()
        return self.images.with_segmentation()


def info_of(saved: SavedLabel) -> dict[str, Any]:
    """Returns what clients are told of a label; 3D Slicer names segments by the names among its parameters."""
    return {**saved.info, "params": {"label_names": saved.info["labels"]}}


def names_and_class(params: Mapping[str, Any], labels: NDArray[Any]) -> tuple[dict[str, int], str | None]:
    """Returns numbers by label's name, and the class, from what viewers send with a label.

    3D Slicer sends ``label_info``, a list of names and numbers; a class is said outright, or by the name of a segment
    in which something is drawn. Where nothing is drawn at all, a segment called normal says that this is meant: no
    model of the server has such a label, so that somebody made it.
    """
    names: dict[str, int] = {}
    given = params.get("label_info") or params.get("label_names") or []
    if isinstance(given, Mapping):
        given = [{"name": name, "idx": number} for name, number in given.items()]
    for position, item in enumerate(given if isinstance(given, list) else [], start=1):
        if isinstance(item, Mapping) and isinstance(item.get("name"), str):
            number = item.get("idx", item.get("id", position))
            if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= 255:
                raise BreastkitError("The numbers of labels are whole, from 1 to 255; save the label again.")
            names[item["name"][:64]] = number
    present = [int(value) for value in np.unique(labels) if value]
    for number in present:
        if number not in names.values():
            names[f"label {number}" if names else "lesion"] = number
    of_class = params.get("class")
    if of_class is None:
        # Only what is drawn: 3D Slicer sends an empty segment for every label that the server names.
        drawn = {name.lower() for name, number in names.items() if number in present}
        drawn |= {name.lower() for name in names} & {NORMAL} if not present else set()
        of_class = next((name for name in reversed(CLASSES) if name in drawn), None)
    elif not isinstance(of_class, str):
        raise BreastkitError(f"The class of an image is one of {', '.join(CLASSES)}; send one of these.")
    return names or {"lesion": 1}, of_class


def header_of(
    image: StudyImage,
    version: int,
    of_class: str | None,
    *,
    user: str = "",
    algorithms: Mapping[str, Algorithm] | None = None,
) -> SegmentationHeader:
    """Returns what the segmentation of a version of an image's label says."""
    return SegmentationHeader(
        number=_FIRST_SERIES + version,
        description=f"Label of {image.info.get('SeriesDescription') or image.modality}",
        content=f"Class: {of_class}" if of_class else "",
        creator=user,
        algorithms=algorithms or {},
    )


def algorithms_of(params: Mapping[str, Any]) -> dict[str, Algorithm]:
    """Returns what made the segments of a label, by their names, as our viewer sends it among `label_info`.

    A model by its name and whether what it drew was corrected; of other viewers nothing is known.
    """
    given = params.get("label_info")
    found = {}
    for item in given if isinstance(given, list) else []:
        if isinstance(item, Mapping) and isinstance(item.get("name"), str) and isinstance(item.get("model"), str):
            version = str(item.get("weights") or "unknown")[:64]
            found[item["name"][:64]] = Algorithm(item["model"][:64], version, bool(item.get("corrected", True)))
    return found


def open_store(studies: str, *, labels: str | Path | None = None, kinds: Mapping[str, Any] | None = None) -> StudyStore:
    """Opens a folder of NIfTI or pictures, a folder of DICOM, or a DICOMweb address.

    Args:
        studies: the folder or address.
        labels: where labels are kept; by default ``labels`` in the folder, and ``work/labels`` for an address.
        kinds: what labels show, by their name.

    Raises:
        BreastkitError: if there is nothing of this kind.
    """
    if studies.startswith(("http://", "https://")):
        folder = make_folder(labels or Path("work", LABELS_FOLDER))
        return StudyStore(RemoteImages(studies, folder / ".cache"), folder, kinds=kinds)
    place = Path(studies)
    refuse_missing_studies(studies)
    folder = make_folder(labels or place / LABELS_FOLDER)
    if any(is_dicom(path) for path in place.rglob("*") if path.is_file() and folder not in path.parents):
        stored = make_folder(folder / "dicom")
        index = FolderIndex((place, stored))
        dicom = StoredFolder(stored, index)
        return StudyStore(DicomImages(index, folder / ".cache"), folder, kinds=kinds, dicom=dicom)
    return StudyStore(FileImages(place, folder / ".cache", added=folder / "images"), folder, kinds=kinds)
