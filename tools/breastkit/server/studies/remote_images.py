"""The images of a DICOMweb address: listed there, fetched when they are asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from dicomweb_client import DICOMwebClient

from breastkit.atomic import atomic_folder
from breastkit.dicomweb.archive import Archive, checked_address
from breastkit.dicomweb.folder_index import is_uid
from breastkit.errors import BreastkitError
from breastkit.server.studies.study_images import MODALITIES, Form, StudyImage, StudyImages

_LISTED_FOR_SECONDS = 10.0
_TAGS = {
    "Modality": "00080060", "StudyInstanceUID": "0020000D", "SeriesInstanceUID": "0020000E", "PatientID": "00100020",
    "StudyDate": "00080020", "SeriesDescription": "0008103E",
}  # fmt: skip


class RemoteImages(StudyImages):
    """The MR, US and CT series of a DICOMweb address.

    Args:
        address: of the service, for example ``http://127.0.0.1:8042/dicom-web``.
        cache: a folder for what was fetched.
        session: carries credentials, where the service asks for them.
    """

    def __init__(self, address: str, cache: str | Path, *, session: requests.Session | None = None) -> None:
        super().__init__(cache)
        self.address = checked_address(address)
        self._session = session or requests.Session()
        self._listed: tuple[float, dict[str, StudyImage]] = (0.0, {})
        self._fetching = threading.Lock()
        self._referred: dict[str, set[str]] = {}

    def all(self) -> dict[str, StudyImage]:
        """Returns the series by SeriesInstanceUID; a list is used for some seconds.

        Raises:
            BreastkitError: if the service does not answer.
        """
        when, listed = self._listed
        if time.monotonic() - when > _LISTED_FOR_SECONDS or not when:
            found = [image for modality in MODALITIES for image in self._of(modality)]
            # Services answer in an order of their own.
            found.sort(key=lambda image: (str(image.info["PatientID"]), image.id))
            listed = {image.id: image for image in found}
            self._listed = (time.monotonic(), listed)
        return listed

    def labelled(self) -> set[str]:
        """Returns the series that segmentations of the service refer to.

        Raises:
            BreastkitError: if the service does not answer.
        """
        found = set()
        for item in self._ask(lambda client: client.search_for_series(search_filters={"Modality": "SEG"})):
            study, series = _value(item, "StudyInstanceUID"), _value(item, "SeriesInstanceUID")
            if series not in self._referred:
                self._referred[series] = self._referred_to(study, series)
            found |= self._referred[series]
        return found

    def _referred_to(self, study: str, series: str) -> set[str]:
        headers = self._ask(lambda client: client.retrieve_series_metadata(study, series))
        parts = headers[0].get("00081115", {}).get("Value", []) if headers else []
        return {_value(part, "SeriesInstanceUID") for part in parts}

    def store(self, path: str | Path) -> None:
        """Stores a DICOM file at the service.

        Raises:
            BreastkitError: if the service does not take it.
        """
        sent = Archive(self.address, session=self._session).store(Path(path))
        if sent.problem:
            raise BreastkitError(f"{self.address} did not take the segmentation: {sent.problem}.")

    def file_of(self, image: StudyImage) -> Path:
        """Returns the image as a NIfTI; its DICOM files are fetched first."""
        return super().file_of(self.fetched(image))

    def fetched(self, image: StudyImage) -> StudyImage:
        """Returns the image with its files, fetched where they are not here yet.

        Raises:
            BreastkitError: if the service does not give them.
        """
        if image.files:
            return image
        folder = self.cache / "dicom" / image.id
        with self._fetching:
            if not folder.is_dir():
                study = str(image.info["StudyInstanceUID"])
                objects = self._ask(lambda client: client.retrieve_series(study, image.id))
                # As viewers show them, whatever order they come in.
                objects.sort(key=lambda one: int(one.get("InstanceNumber") or 0))
                with atomic_folder(folder) as temporary:
                    for number, one in enumerate(objects):
                        one.save_as(temporary / f"{number:05d}.dcm", enforce_file_format=True)
        return StudyImage(image.id, image.form, tuple(sorted(folder.glob("*.dcm"))), image.info)

    def get(self, image_id: str) -> StudyImage:
        """Returns an image with its files."""
        return self.fetched(super().get(image_id))

    def _of(self, modality: str) -> list[StudyImage]:
        found = []
        for item in self._ask(lambda client: client.search_for_series(search_filters={"Modality": modality})):
            info = {name: _value(item, name) for name in _TAGS}
            if is_uid(info["SeriesInstanceUID"]) and is_uid(info["StudyInstanceUID"]):
                form = Form.FRAMES if modality == "US" else Form.SERIES
                found.append(StudyImage(info["SeriesInstanceUID"], form, (), {**info, "Modality": modality}))
        return found

    def _ask(self, question: Any) -> Any:
        try:
            # A client holds one connection: each thread asks with its own.
            return question(DICOMwebClient(self.address, session=self._session))
        except (requests.RequestException, OSError, ValueError) as error:
            raise BreastkitError(f"{self.address} does not answer as DICOMweb does; check the address.") from error


def _value(item: Mapping[str, Any], name: str) -> str:
    values = item.get(_TAGS[name], {}).get("Value") or [""]
    return str(values[0])
