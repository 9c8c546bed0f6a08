"""Somebody else's archive, a PACS, reached by DICOMweb: studies are fetched from it, objects stored in it.

A request that fails for a reason that passes is made again, later each time. Storing an object twice does no harm: its
identifiers follow from what it was made of.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pydicom
import requests
import urllib3.exceptions
from dicomweb_client import DICOMwebClient
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from breastkit.atomic import atomic_path
from breastkit.dicom.read_errors import READ_ERRORS
from breastkit.dicomweb.folder_index import is_uid
from breastkit.dicomweb.multipart_related import PartsWriter
from breastkit.errors import BreastkitError, UsageError
from breastkit.progress import track

_DICOM, _JSON = "application/dicom", "application/dicom+json"
_TRIES = 4
# What a busy archive, or a proxy before one that starts again, answers.
_PASSING = (429, 502, 503, 504)
# However long it asks a client to wait.
_LONGEST_WAIT_S = 30
_FAILED, _REASON, _IMAGES = "00081198", "00081197", "00201209"
# Failure reasons of PS3.18, table I.2-2; those of A700 to C000 are ranges.
_REASONS = {
    0x0110: "it failed while processing it",
    0x0111: "it has another object of this identifier",
    0x0122: "it does not take objects of this class",
    0x0124: "it is not authorized to take it",
}
_RANGES = ((0xC000, "it does not understand it"), (0xA900, "it does not fit its class"), (0xA700, "it has no room"))
_STATUSES = {
    401: "it asks for a user and a password; put them into ~/.netrc",
    403: "it forbids this user to do so",
    404: "there is no DICOMweb at this address",
    413: "it does not take so much at once",
}


# The answers of strangers are damaged in as many ways as their files.
_ERRORS = (requests.RequestException, *READ_ERRORS)
T = TypeVar("T")


@dataclass(frozen=True)
class Sent:
    """What became of an object that was sent to an archive.

    Attributes:
        file: its name.
        sop_instance_uid: its identifier.
        problem: why the archive has not got it; empty where it has.
    """

    file: str
    sop_instance_uid: str
    problem: str = ""


class Archive:
    """An archive.

    Args:
        address: of its DICOMweb service, for example ``http://127.0.0.1:8042/dicom-web``.
        session: carries credentials where the archive asks for them; by default those of ``~/.netrc`` are used.
        patience_s: so long it may be silent.
        backoff_s: what waiting between two tries begins with.

    Raises:
        UsageError: if it is no such address, or says a password.
    """

    def __init__(
        self,
        address: str,
        *,
        session: requests.Session | None = None,
        patience_s: float = 60.0,
        backoff_s: float = 0.5,
    ) -> None:
        self.address = checked_address(address)
        self._session = session or _retrying_session(backoff_s)
        self._patience_s, self._backoff_s = patience_s, backoff_s

    def fetch_study(self, uid: str, folder: Path) -> None:
        """Fetches all objects of a study, each as ``SOPInstanceUID.dcm``.

        Args:
            uid: StudyInstanceUID.
            folder: an empty one.

        Raises:
            BreastkitError: if the archive has no such study, or does not give all of it.
        """
        if not is_uid(uid):
            raise UsageError(f"{uid!r} is no identifier of a study; give a StudyInstanceUID, digits and points.")
        try:
            series = [
                (str(_value(item, "0020000E")), int(_value(item, _IMAGES) or 0))
                for item in self._client().search_for_series(uid, fields=["NumberOfSeriesRelatedInstances"])
            ]
        except _ERRORS as error:
            raise BreastkitError(f"{self.address} did not say what study {uid} has: {self._why(error)}.") from error
        if not series:
            raise BreastkitError(f"{self.address} has no study {uid}; check the identifier.")
        for name, listed in track(series, "Fetching", unit="series"):
            try:
                got = self._again_where_it_breaks(partial(self._fetch_series, uid, name, folder))
            except _ERRORS as error:
                raise BreastkitError(f"{self.address} did not give all of study {uid}: {self._why(error)}.") from error
            if got < listed:
                raise BreastkitError(
                    f"{self.address} gave {got} of {listed} objects of a series of study {uid}; look at its log."
                )

    def _fetch_series(self, study: str, series: str, folder: Path) -> int:
        """Fetches a series and returns how many objects came; one is in memory at a time."""
        count = 0
        for one in self._client().iter_series(study, series, media_types=((_DICOM, "*"),)):
            uid = str(one.SOPInstanceUID)
            if not is_uid(uid):
                raise ValueError("an object has an identifier that is none")
            with atomic_path(folder / f"{uid}.dcm") as temporary:
                one.save_as(temporary, enforce_file_format=True)
            count += 1
        return count

    def store(self, path: Path) -> Sent:
        """Stores a DICOM file, and returns what the archive made of it.

        Raises:
            BreastkitError: if the archive cannot be reached, is silent or closes in the middle.
        """
        writer = PartsWriter(_DICOM)
        body = b"".join(writer.write([(_DICOM, path.read_bytes())]))
        headers = {"Content-Type": writer.content_type, "Accept": _JSON}

        def send() -> requests.Response:
            # A redirected POST would become a GET.
            return self._session.post(
                f"{self.address}/studies", data=body, headers=headers, timeout=self._patience_s, allow_redirects=False
            )

        try:
            answer = self._again_where_it_breaks(send)
        except _ERRORS as error:
            raise BreastkitError(f"{self.address} did not take {path.name}: {self._why(error)}.") from error
        header = pydicom.dcmread(path, specific_tags=["SOPInstanceUID"], stop_before_pixels=True)
        return Sent(path.name, str(header.SOPInstanceUID), _refusal(answer))

    def _again_where_it_breaks(self, request: Callable[[], T]) -> T:
        """Returns what a request gives; it is made again where the answer breaks off, which urllib3 leaves to us."""
        for number in range(1, _TRIES):
            try:
                return request()
            except _ERRORS as error:
                causes = [type(one) for one in _causes(error)]
                if urllib3.exceptions.ProtocolError not in causes or urllib3.exceptions.MaxRetryError in causes:
                    raise
                time.sleep(self._backoff_s * 2**number)
        return request()

    def _client(self) -> DICOMwebClient:
        # A client holds one connection: each thread asks with its own.
        client = DICOMwebClient(self.address, session=self._session, permissive_uid=True, timeout=self._patience_s)
        client.set_http_retry_params(retry=False)
        return client

    def _why(self, error: BaseException) -> str:
        """Returns in words why a request came to nothing."""
        if isinstance(error, requests.HTTPError) and error.response is not None:
            return _status_words(error.response)
        causes = list(_causes(error))
        if any(isinstance(one, urllib3.exceptions.NewConnectionError) for one in causes):
            return "it cannot be reached; start it, or correct the address"
        if any(isinstance(one, urllib3.exceptions.TimeoutError) for one in causes):
            return f"it was silent for {self._patience_s:g} seconds; look whether it is overloaded, and try again"
        if any(isinstance(one, urllib3.exceptions.ProtocolError) for one in causes):
            return "it closed the connection in the middle; look at its log, and try again"
        return "it does not answer as DICOMweb does; check the address"


def checked_address(address: str) -> str:
    """Returns the address of a DICOMweb service without a slash at its end.

    Raises:
        UsageError: if it is none, or says a password: that would lie in results and logs.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"{address!r} is no address of DICOMweb; give one such as http://127.0.0.1:8042/dicom-web.")
    if parts.username or parts.password:
        raise UsageError(
            f"The address of {parts.hostname} says who logs in; leave that out and put it into ~/.netrc instead."
        )
    return address.rstrip("/")


def _retrying_session(backoff_s: float) -> requests.Session:
    retry = Retry(
        total=_TRIES,
        # A silent archive has been waited for long enough after the second time.
        read=1,
        status_forcelist=_PASSING,
        allowed_methods=None,
        backoff_factor=backoff_s,
        raise_on_status=False,
        retry_after_max=_LONGEST_WAIT_S,
    )
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def _refusal(answer: requests.Response) -> str:
    """Returns why an archive did not take the one object it was sent; empty if it did."""
    if answer.status_code not in (200, 202, 409):
        return _status_words(answer)
    try:
        told = answer.json()
        failed = (told[0] if isinstance(told, list) else told).get(_FAILED, {}).get("Value") or []
        reasons = [int(_value(item, _REASON) or 0) for item in failed]
    except (ValueError, AttributeError, IndexError, TypeError):
        # Some say nothing but that they took it.
        return "" if answer.ok else _status_words(answer)
    if not reasons:
        return "" if answer.ok else _status_words(answer)
    words = _REASONS.get(reasons[0]) or next((text for least, text in _RANGES if reasons[0] >= least), "")
    return f"{words or 'it does not say why'} (reason {reasons[0]:04X})"


def _status_words(answer: requests.Response) -> str:
    words = _STATUSES.get(answer.status_code)
    if words is None and answer.is_redirect:
        words = "it leads to another address; give that one"
    return f"{words or 'look at its log'} (HTTP status {answer.status_code})"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an exception and those it was made of: requests and urllib3 wrap them in several ways."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]


def _value(item: Any, tag: str) -> Any:
    values = item.get(tag, {}).get("Value") or [""]
    return values[0]
