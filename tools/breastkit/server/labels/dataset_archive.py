"""The labelled images and their labels as one file, with a case list that a training reads once it is unpacked."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote
from zipfile import ZIP_STORED, ZipFile

from breastkit.atomic import atomic_path
from breastkit.cases import FILE_NAME
from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.server.studies.study_phases import group_of
from breastkit.server.studies.study_store import StudyStore

_log = get_logger(__name__)


def write_archive(store: StudyStore, path: Path, *, most: int = 0) -> Path:
    """Writes ``images/``, ``labels/`` and ``dataset.json`` as a zip.

    DICOM is in it as NIfTI, without what its headers say of patients. An image that cannot be read is left out.

    Args:
        store: images and labels.
        path: the zip to write.
        most: so many cases at most; 0 for all.

    Raises:
        BreastkitError: if there is no label.
    """
    there, items = store.images.all(), []
    names = [name for name in store.labels.labelled() if name in there]
    # What is in it is compressed already.
    with atomic_path(path) as temporary, ZipFile(temporary, "w", ZIP_STORED) as archive:
        for name in names[:most] if most else names:
            saved = store.labels.current(name)
            if saved is None:
                continue
            try:
                image = store.file_of(name)
            except BreastkitError as error:
                _log.warning("%s is not in the data set: %s", name, error)
                continue
            stem = quote(name, safe=" ()").replace(".", "%2E")
            files = {key: f"{key}s/{stem}{_suffix(file)}" for key, file in (("image", image), ("label", saved.path))}
            archive.write(image, files["image"])
            archive.write(saved.path, files["label"])
            item = {**files, "case": group_of(there[name]), "labels": saved.info["labels"]}
            items.append({**item, "class": saved.info["class"]} if saved.info["class"] else item)
        if not items:
            raise BreastkitError("There is no label yet; save one first.")
        archive.writestr(FILE_NAME, json.dumps({"name": "labels", "training": items}, indent=2))
    return path


def _suffix(file: Path) -> str:
    return ".nii.gz" if file.name.lower().endswith(".nii.gz") else file.suffix.lower()
