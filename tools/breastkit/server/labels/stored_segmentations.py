"""Segmentations that viewers store by DICOMweb, as labels of the images they were drawn on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from breastkit.dicom.read_seg import (
    ReadSegment,
    count_values,
    is_segmentation,
    label_map,
    outlined_series,
    read_segmentation,
)
from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.server.labels.readings import Readings
from breastkit.server.labels.saved_labels import FINAL, SavedLabel
from breastkit.server.security.users import User
from breastkit.server.studies.study_images import Form, StudyImage, series_of
from breastkit.server.studies.study_store import StudyStore, names_and_class
from breastkit.temporary import temporary_folder

_log = get_logger(__name__)
# A small file may stand for as many voxels as it likes; several segments on a finer grid are within this.
_MOST_TIMES = 16


def keep_as_label(store: StudyStore, readings: Readings, data: bytes, who: User) -> str:
    """Saves a stored object as the label of an image, where it is a segmentation of one.

    Args:
        store: of the images.
        readings: that labels become.
        data: a DICOM object, which is stored already.
        who: stored it.

    Returns:
        Why a segmentation is no label, empty where it is one or the object is something else.
    """
    with temporary_folder("label") as folder:
        path = folder / "stored.dcm"
        path.write_bytes(data)
        try:
            if not is_segmentation(path):
                return ""
            referred = [store.image(uid) for uid in outlined_series(path) if uid in store.images.all()]
            if len(referred) != 1:
                return "The segmentation is stored and is no label: it refers to no series here, or to several."
            _save(store, readings, referred[0], path, who)
        except BreastkitError as error:
            # It names files of this machine: for its log, not for a client.
            _log.warning("A stored segmentation is no label: %s", error)
            return (
                "The segmentation is stored and is no label: its segments overlap or do not lie on the series it "
                "refers to; submit the label instead."
            )
    return ""


def _save(store: StudyStore, readings: Readings, image: StudyImage, path: Path, who: User) -> None:
    grid = store.images.grid_of(image)
    if count_values(path) > _MOST_TIMES * math.prod(grid.shape):
        raise BreastkitError(f"{path} has far more voxels than its image; store it in the image's own resolution.")
    segments = read_segmentation(path, series_of(image) if image.form is Form.SERIES else image.files[0])
    labels = _on_grid(label_map(segments), image)
    told = [{"name": _name(one), "idx": one.number} for one in segments]
    names, of_class = names_and_class({"label_info": told}, labels)

    def save(tag: str, facts: Mapping[str, Any]) -> SavedLabel:
        before = store.labels.current(image.id, tag) or store.labels.current(image.id)
        # A segmentation has no place for the class; who corrects outlines in a viewer says nothing against it.
        kept = of_class if of_class is not None or before is None else before.info["class"]
        return store.labels.save(
            image.id, labels, grid, names=names, of_class=kept, user=who.name, tag=tag, facts=facts
        )

    readings.keep(who, image.id, FINAL, save)


def _name(segment: ReadSegment) -> str:
    return segment.label or f"segment {segment.number}"


def _on_grid(labels: NDArray[Any], image: StudyImage) -> NDArray[Any]:
    """Returns a label map of a picture or a clip, (frames, rows, columns), as the others: [column, row, slice]."""
    if image.form is Form.SERIES:
        return labels
    return (labels if labels.ndim == 3 else labels[None]).transpose(2, 1, 0)
