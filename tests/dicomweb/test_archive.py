"""An archive as a pipeline's partner: what is stored comes back, and one that does not want to costs a sentence."""

import pydicom
import pytest
import requests
from tests.apps.server_process import free_port
from tests.dicom.scans import AXIAL, affine_of, write_mask, write_scan
from tests.dicomweb.bad_archives import answers, archive_that, closes, is_silent, one_by_one
from tests.dicomweb.store_process import store_process

from breastkit.dicomweb.archive import Archive
from breastkit.errors import BreastkitError, UsageError

STUDY, SERIES = "1.2.3", "1.2.3.4"
TAKEN = {"00081199": {"vr": "SQ", "Value": [{}]}}


def refused(reason):
    return {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [reason]}}]}}


def listed(count):
    return [{"0020000E": {"vr": "UI", "Value": [SERIES]}, "00201209": {"vr": "IS", "Value": [count]}}]


def archive(address, **options):
    return Archive(address, **{"patience_s": 0.3, "backoff_s": 0.001} | options)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return write_scan(tmp_path_factory.mktemp("scan") / "scan", affine_of(AXIAL))


@pytest.fixture(scope="module")
def segmentation(scan):
    return write_mask(scan.parent / "segmentation.dcm", scan, uid_source="weights")


@pytest.fixture(scope="module")
def store(scan, tmp_path_factory):
    with store_process(scan, tmp_path_factory.mktemp("stored"), largest_upload=2**24) as address:
        yield address


def test_a_study_is_fetched_with_what_was_stored_in_it(store, scan, segmentation, tmp_path):
    place = Archive(store + "/")
    for _ in range(2):
        # A repeated run sends the same once more.
        sent = place.store(segmentation)
        assert (sent.file, sent.problem) == ("segmentation.dcm", "")
    place.fetch_study(pydicom.dcmread(segmentation).StudyInstanceUID, tmp_path / "got")
    originals = [*scan.iterdir(), segmentation]
    got = {path.name: pydicom.dcmread(path) for path in (tmp_path / "got").iterdir()}
    assert len(got) == len(originals) == 8
    for path in originals:
        original = pydicom.dcmread(path)
        assert got[f"{original.SOPInstanceUID}.dcm"] == original


def test_a_study_that_is_not_there(store, tmp_path):
    with pytest.raises(BreastkitError, match=r"has no study 1\.2\.3; check the identifier"):
        Archive(store).fetch_study(STUDY, tmp_path)
    with pytest.raises(UsageError, match=r"'\.\./x' is no identifier of a study"):
        Archive(store).fetch_study("../x", tmp_path)
    with pytest.raises(BreastkitError, match="has: it cannot be reached; start it, or correct the address"):
        archive(f"http://127.0.0.1:{free_port()}").fetch_study(STUDY, tmp_path)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:8042", "is no address of DICOMweb; give one such as http://127.0.0.1:8042/dicom-web"),
        ("ftp://pacs/", "is no address of DICOMweb"),
        ("http://anna:secret@pacs/dicom-web", "The address of pacs says who logs in; leave that out and put it into"),
    ],
)
def test_addresses_that_are_none(address, words):
    with pytest.raises(UsageError) as error:
        Archive(address)
    assert words in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [
        (answers(409, refused(0x0122)), "it does not take objects of this class (reason 0122)"),
        (answers(202, refused(0xA777)), "it has no room (reason A777)"),
        (answers(409, refused(0xC123)), "it does not understand it (reason C123)"),
        (answers(409), "look at its log (HTTP status 409)"),
        (answers(401), "it asks for a user and a password; put them into ~/.netrc (HTTP status 401)"),
        (answers(500), "look at its log (HTTP status 500)"),
        (answers(301, Location="/elsewhere"), "it leads to another address; give that one (HTTP status 301)"),
        (answers(200, TAKEN), ""),
        (answers(200), ""),
    ],
)
def test_what_an_archive_makes_of_an_object(segmentation, behaviour, problem):
    with archive_that(behaviour) as (address, asked):
        sent = archive(address).store(segmentation)
    assert (sent.sop_instance_uid, sent.problem) == (pydicom.dcmread(segmentation).SOPInstanceUID, problem)
    assert asked == [("POST", "/dicom-web/studies")]


def test_what_passes_is_tried_again(segmentation, scan, tmp_path):
    busy, taken = answers(503), answers(200, TAKEN)
    with archive_that(one_by_one(busy, closes, busy, taken)) as (address, asked):
        assert archive(address).store(segmentation).problem == ""
        assert len(asked) == 4
    with archive_that(busy) as (address, asked):
        assert archive(address).store(segmentation).problem == "look at its log (HTTP status 503)"
        assert len(asked) == 5


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (is_silent, "it was silent for 0.3 seconds; look whether it is overloaded, and try again"),
        (closes, "it closed the connection in the middle; look at its log, and try again"),
    ],
)
def test_an_archive_that_is_silent_or_closes_in_the_middle(segmentation, tmp_path, behaviour, words):
    with archive_that(behaviour) as (address, _), pytest.raises(BreastkitError) as error:
        archive(address).store(segmentation)
    assert str(error.value) == f"{address} did not take segmentation.dcm: {words}."
    with archive_that(one_by_one(answers(200, listed(7)), behaviour)) as (address, asked):
        with pytest.raises(BreastkitError) as error:
            archive(address).fetch_study(STUDY, tmp_path)
        assert str(error.value) == f"{address} did not give all of study {STUDY}: {words}."
        # It was asked more than once for the series.
        assert len(asked) > 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("behaviours", "words"),
    [
        ([answers(403)], "did not say what study 1.2.3 has: it forbids this user to do so (HTTP status 403)."),
        ([answers(200, ["<html>"])], "did not say what study 1.2.3 has: it does not answer as DICOMweb does"),
        ([answers(200, listed(7)), answers(404)], "did not give all of study 1.2.3: there is no DICOMweb at this"),
        (
            [answers(200, listed(7)), answers(200, [])],
            "did not give all of study 1.2.3: it does not answer as DICOMweb",
        ),
    ],
)
def test_an_archive_that_does_not_give(tmp_path, behaviours, words):
    with archive_that(one_by_one(*behaviours)) as (address, _), pytest.raises(BreastkitError) as error:
        archive(address).fetch_study(STUDY, tmp_path)
    assert str(error.value).startswith(f"{address} {words}")


def test_an_archive_that_gives_less_than_it_lists(store, scan, tmp_path):
    header = pydicom.dcmread(next(scan.iterdir()))
    whole = requests.get(
        f"{store}/studies/{header.StudyInstanceUID}/series/{header.SeriesInstanceUID}",
        headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'},
    )

    def gives(handler, _):
        handler.send_response(200)
        handler.send_header("Content-Type", whole.headers["content-type"])
        handler.send_header("Content-Length", str(len(whole.content)))
        handler.end_headers()
        handler.wfile.write(whole.content)

    refused = pytest.raises(BreastkitError, match=r"gave 7 of 9 objects of a series of study 1\.2\.3")
    with archive_that(one_by_one(answers(200, listed(9)), gives)) as (address, _), refused:
        archive(address).fetch_study(STUDY, tmp_path / "got")
