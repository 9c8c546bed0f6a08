"""The embedded store over a real socket, asked by dicomweb-client, the reference, and by rougher ones."""

import hashlib
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client import DICOMwebClient
from fastapi import FastAPI
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
    generate_uid,
)
from starlette.testclient import TestClient
from tests.dicomweb.store_process import store_process

from breastkit.dicom.read_seg import read_segmentation
from breastkit.dicom.write_mr import MrStudy, write_mr_series
from breastkit.dicom.write_seg import Segment, write_segmentation
from breastkit.dicom.write_us import write_us_dicom
from breastkit.dicomweb.store import dicom_store_app
from breastkit.errors import BreastkitError

# Seconds: the first answers come after libraries were loaded, on a machine that may do much else.
PATIENCE = 120
MR_SHAPE = (11, 9, 4)
STUDY = MrStudy(patient_id="MR_007^", uid_source="store test")


def frames(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 33, 47), dtype=np.uint8)


def rewrite(path, syntax, **tags):
    dataset = pydicom.dcmread(path)
    for name, value in tags.items():
        setattr(dataset, name, value)
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
        return path
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = dataset.pixel_array.astype(">i2").tobytes()
    pydicom.dcmwrite(path, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
    return path


def write_jpeg(path):
    dataset = pydicom.dcmread(write_us_dicom(path, frames(1), spacing=0.1, patient="US_jpeg^", uid_seed="jpeg"))
    image = io.BytesIO()
    Image.fromarray(np.full((33, 47), 90, np.uint8)).save(image, "jpeg")
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = pydicom.encaps.encapsulate([image.getvalue()])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One MR series of every uncompressed kind, ultrasound as picture, clip, RLE and JPEG, and what is no DICOM."""
    folder = tmp_path_factory.mktemp("patients of Märchen #1")
    volume = np.random.default_rng(0).integers(-50, 900, MR_SHAPE).astype(np.int16)
    affine = np.diag([-0.8, -1.1, 2.5, 1.0])
    write_mr_series(folder / "mr", volume, affine, STUDY, number=2, description="dyn 1")
    kinds = (ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian)
    for path, syntax in zip(sorted((folder / "mr").iterdir()), kinds, strict=True):
        rewrite(path, syntax, StudyDate="20210305")
    for name, count in (("picture", 1), ("clip", 5), ("packed", 3)):
        path = folder / "us" / f"{name}.dcm"
        write_us_dicom(path, frames(count), spacing=0.1, patient=f"US_{name}^", uid_seed=name)
    rewrite(folder / "us" / "packed.dcm", RLELossless)
    write_jpeg(folder / "us" / "jpeg.dcm")
    (folder / "notes.txt").write_text("not for the store")
    return folder


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return tmp_path_factory.mktemp("work") / "stored"


@pytest.fixture(scope="module")
def address(folder, stored):
    with store_process(folder, stored) as address:
        yield address


@pytest.fixture
def client(address):
    return DICOMwebClient(address)


def uids_of(path):
    header = pydicom.dcmread(path, stop_before_pixels=True)
    return header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID


def address_of(address, path, *parts):
    study, series, uid = uids_of(path)
    return "/".join((f"{address}/studies/{study}/series/{series}/instances/{uid}", *parts))


def values(results, keyword):
    tag = f"{pydicom.datadict.tag_for_keyword(keyword):08X}"
    return [result.get(tag, {}).get("Value", [None])[0] for result in results]


def digests(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(folder).rglob("*") if path.is_file()}


def names(results):
    return sorted(value["Alphabetic"] for value in values(results, "PatientName"))


def test_studies_are_found_as_ohif_asks_for_them(client):
    everything = client.search_for_studies(fields=["StudyDescription", "00080060"], limit=101, offset=0)
    assert names(everything) == ["MR_007^", "US_clip^", "US_jpeg^", "US_packed^", "US_picture^"]
    # The latest first.
    assert values(everything, "PatientName")[0]["Alphabetic"] == "MR_007^"
    assert values(everything, "StudyDescription")[0] == "Breast MRI"
    assert values(everything, "NumberOfStudyRelatedInstances")[0] == 4
    assert values(everything, "ModalitiesInStudy")[0] == "MR"

    def found(**wanted):
        return names(client.search_for_studies(search_filters=wanted))

    assert found(PatientName="*us_*") == names(everything)[1:]
    assert found(ModalitiesInStudy="MR") == ["MR_007^"]
    assert len(found(ModalitiesInStudy="MR\\US")) == 5
    assert found(StudyDate="20210101-20211231") == ["MR_007^"]
    assert found(PatientID="US_clip^") == ["US_clip^"]
    assert found(PatientID="nobody") == []
    assert found(Modality="MR") == ["MR_007^"]
    assert found(StudyInstanceUID=values(everything, "StudyInstanceUID")[0]) == ["MR_007^"]
    assert names(client.search_for_studies(fuzzymatching=True, search_filters={"PatientName": "us_cl"})) == ["US_clip^"]


def test_pages_of_results_do_not_overlap(client):
    pages = [client.search_for_studies(limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert len({uid for page in pages for uid in values(page, "StudyInstanceUID")}) == 5
    assert client.search_for_studies(limit=0) == []


def test_series_and_instances(client, folder):
    study, series, _ = uids_of(folder / "mr" / "0001.dcm")
    (found,) = client.search_for_series(study)
    assert values([found], "SeriesDescription") == ["dyn 1"]
    assert values([found], "NumberOfSeriesRelatedInstances") == [4]
    assert values([found], "RetrieveURL")[0].endswith(f"/studies/{study}/series/{series}")
    # As MONAI Label asks: over all studies, by series or modality.
    assert values(client.search_for_series(search_filters={"SeriesInstanceUID": series}), "StudyInstanceUID") == [study]
    assert len(client.search_for_series(search_filters={"Modality": "US"})) == 4
    instances = client.search_for_instances(study, series)
    assert values(instances, "InstanceNumber") == [1, 2, 3, 4]
    assert values(instances, "Rows") == [MR_SHAPE[1]] * 4
    assert len(client.search_for_instances(study)) == 4
    assert len(client.search_for_instances()) == 8
    assert client.search_for_series("1.2.3") == []


def test_metadata_say_everything_but_the_pixels(client, folder):
    study, series, uid = uids_of(folder / "mr" / "0001.dcm")
    header = pydicom.Dataset.from_json(client.retrieve_instance_metadata(study, series, uid))
    expected = pydicom.dcmread(folder / "mr" / "0001.dcm", stop_before_pixels=True)
    del header.AvailableTransferSyntaxUID
    expected.SpecificCharacterSet = "ISO_IR 192"
    assert "PixelData" not in header
    assert header.to_json_dict() == expected.to_json_dict()
    assert len(client.retrieve_series_metadata(study, series)) == len(client.retrieve_study_metadata(study)) == 4


@pytest.mark.parametrize("name", ["0001", "0002", "0003", "0004"])
def test_uncompressed_objects_go_out_as_explicit_little_endian(client, folder, name):
    path = folder / "mr" / f"{name}.dcm"
    original = pydicom.dcmread(path)
    served = client.retrieve_instance(*uids_of(path))
    assert served.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    np.testing.assert_array_equal(served.pixel_array, original.pixel_array)
    assert served.PatientName == original.PatientName and served.SOPInstanceUID == original.SOPInstanceUID
    (frame,) = client.retrieve_instance_frames(*uids_of(path), frame_numbers=[1])
    np.testing.assert_array_equal(np.frombuffer(frame, "<i2").reshape(MR_SHAPE[1::-1]), original.pixel_array)


def test_series_and_studies_come_whole(client, folder):
    study, series, _ = uids_of(folder / "mr" / "0001.dcm")
    for served in (client.retrieve_series(study, series), client.retrieve_study(study)):
        assert sorted(int(one.InstanceNumber) for one in served) == [1, 2, 3, 4]


def test_compressed_objects_stay_as_they_are_or_are_decompressed_where_that_is_asked_for(client, folder, address):
    path = folder / "us" / "packed.dcm"
    original = pydicom.dcmread(path)
    served = client.retrieve_instance(*uids_of(path), media_types=(("application/dicom", "*"),))
    assert served.file_meta.TransferSyntaxUID == RLELossless
    plain = client.retrieve_instance(*uids_of(path), media_types=(("application/dicom", str(ExplicitVRLittleEndian)),))
    assert plain.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    np.testing.assert_array_equal(plain.pixel_array, original.pixel_array)
    got = client.retrieve_instance_frames(*uids_of(path), [3, 1], media_types=("application/octet-stream",))
    for frame, number in zip(got, (3, 1), strict=True):
        np.testing.assert_array_equal(np.frombuffer(frame, np.uint8).reshape(33, 47), frames(3)[number - 1])
    headers = {"Accept": 'multipart/related; type="application/octet-stream"; transfer-syntax=*'}
    answer = requests.get(address_of(address, path, "frames", "2"), headers=headers, timeout=PATIENCE)
    assert "image/dicom-rle" in answer.headers["content-type"]
    assert f"transfer-syntax={RLELossless}".encode() in answer.content


def test_jpeg_frames_go_out_as_jpeg(client, folder):
    path = folder / "us" / "jpeg.dcm"
    (frame,) = client.retrieve_instance_frames(*uids_of(path), [1], media_types=("image/jpeg",))
    assert np.asarray(Image.open(io.BytesIO(frame))).shape == (33, 47)


def test_frames_of_a_clip(client, folder):
    path = folder / "us" / "clip.dcm"
    got = client.retrieve_instance_frames(*uids_of(path), [5, 2])
    for frame, number in zip(got, (5, 2), strict=True):
        np.testing.assert_array_equal(np.frombuffer(frame, np.uint8).reshape(33, 47), frames(5)[number - 1])


def test_one_object_alone_for_clients_that_read_no_parts(address, folder):
    path = folder / "us" / "picture.dcm"
    answer = requests.get(address_of(address, path), headers={"Accept": "application/dicom"}, timeout=PATIENCE)
    assert answer.headers["content-type"] == "application/dicom" and answer.content == path.read_bytes()


def test_pictures_to_look_at(address, folder):
    def picture(path, *parts, kind="image/png"):
        answer = requests.get(address_of(address, path, *parts), headers={"Accept": kind}, timeout=PATIENCE)
        assert answer.status_code == 200 and answer.headers["content-type"] == kind
        return np.asarray(Image.open(io.BytesIO(answer.content)))

    clip = folder / "us" / "clip.dcm"
    np.testing.assert_array_equal(picture(clip, "frames", "4", "rendered"), frames(5)[3])
    np.testing.assert_array_equal(picture(clip, "rendered"), frames(5)[0])
    assert picture(folder / "mr" / "0003.dcm", "thumbnail", kind="image/jpeg").shape == MR_SHAPE[1::-1]
    study, series, _ = uids_of(clip)
    answer = requests.get(f"{address}/studies/{study}/series/{series}/thumbnail", timeout=PATIENCE)
    assert answer.headers["content-type"] == "image/jpeg"


def post(address, body, kind="application/dicom"):
    return requests.post(f"{address}/studies", data=body, headers={"Content-Type": kind}, timeout=PATIENCE)


def new_picture(tmp_path, seed, **tags):
    path = write_us_dicom(tmp_path / f"{seed}.dcm", frames(1), spacing=0.1, patient="New^", uid_seed=str(seed))
    dataset = pydicom.dcmread(path)
    for name, value in tags.items():
        setattr(dataset, name, value)
    return dataset


def test_a_segmentation_is_stored_found_and_read_back_equal(client, folder, stored, tmp_path):
    before = digests(folder)
    clip = folder / "us" / "clip.dcm"
    mask = np.zeros((5, 33, 47), np.uint8)
    mask[1:3, 4:9, 7:30] = 1
    path = write_segmentation(tmp_path / "seg.dcm", [Segment("breast_lesion", mask)], clip)
    answer = client.store_instances([pydicom.dcmread(path)])
    study, series, uid = uids_of(path)
    (item,) = answer.ReferencedSOPSequence
    assert item.ReferencedSOPInstanceUID == uid
    assert item.RetrieveURL == f"{client.base_url}/studies/{study}/series/{series}/instances/{uid}"
    # As MONAI Label finds the series in the answer.
    text = next(str(element.value) for element in answer.iterall() if "/series/" in str(element.value))
    assert text.split("/series/")[1].split("/")[0] == series
    (found,) = client.search_for_series(study, search_filters={"Modality": "SEG"})
    assert values([found], "SeriesInstanceUID") == [series]
    (only,) = client.search_for_studies(search_filters={"StudyInstanceUID": study})
    assert only["00080061"]["Value"] == ["SEG", "US"]
    header = pydicom.Dataset.from_json(client.retrieve_series_metadata(study, series)[0])
    assert header.ReferencedSeriesSequence[0].SeriesInstanceUID == uids_of(clip)[1]
    client.retrieve_instance(study, series, uid).save_as(tmp_path / "back.dcm")
    (segment,) = read_segmentation(tmp_path / "back.dcm", clip)
    np.testing.assert_array_equal(segment.mask, mask)
    (frame,) = client.retrieve_instance_frames(study, series, uid, [2])
    bits = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")[: 33 * 47]
    np.testing.assert_array_equal(bits.reshape(33, 47), mask[2])
    assert digests(folder) == before
    assert [path.name for path in stored.rglob("*.dcm")] == [f"{uid}.dcm"]


def test_what_is_there_is_never_replaced(client, folder, stored, tmp_path):
    dataset = new_picture(tmp_path, "twice")
    client.store_instances([dataset])
    before = {**digests(folder), **digests(stored)}
    # The same again is no mistake; another object under its identifier is.
    assert len(client.store_instances([dataset]).ReferencedSOPSequence) == 1
    dataset.PatientID = "someone else"
    with pytest.raises(requests.HTTPError, match="409"):
        client.store_instances([dataset])
    theirs = pydicom.dcmread(folder / "us" / "picture.dcm")
    theirs.PatientID = "someone else"
    with pytest.raises(requests.HTTPError, match="409"):
        client.store_instances([theirs])
    # Of several, those that can be stored are.
    answer = client.store_instances([theirs, new_picture(tmp_path, "beside")])
    assert (answer.FailedSOPSequence[0].FailureReason, len(answer.ReferencedSOPSequence)) == (0x0111, 1)
    after = {**digests(folder), **digests(stored)}
    assert {path: after[path] for path in before} == before and len(after) == len(before) + 1


@pytest.mark.parametrize(
    "tags",
    [
        {"SOPInstanceUID": "../../../../tmp/evil"},
        {"SeriesInstanceUID": ".."},
        {"StudyInstanceUID": "/etc"},
        {"SOPInstanceUID": "1.2/../../3"},
        {"SOPInstanceUID": "1" * 65},
        {"SOPInstanceUID": ""},
        {"Rows": 4000},
    ],
)
def test_identifiers_that_are_paths_and_damaged_objects_are_refused(address, stored, tmp_path, tags):
    before = digests(stored.parent)
    with pydicom.config.disable_value_validation():
        dataset = new_picture(tmp_path, "evil", **tags)
        data = io.BytesIO()
        dataset.save_as(data)
    answer = post(address, data.getvalue())
    assert answer.status_code == 400 and "Warning" in answer.headers
    assert digests(stored.parent) == before


def multipart(*parts, kind="application/dicom", boundary="xyz"):
    body = b"".join(b"--%s\r\nContent-Type: %s\r\n\r\n%s\r\n" % (boundary.encode(), kind.encode(), p) for p in parts)
    return body + b"--" + boundary.encode() + b"--\r\n"


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("multipart/related; type=application/dicom; boundary=xyz", multipart(b"no DICOM"), 400),
        ("multipart/related; type=application/dicom; boundary=xyz", multipart(), 400),
        ("multipart/related; type=application/dicom; boundary=xyz", b"", 400),
        ("multipart/related; type=application/dicom; boundary=xyz", multipart(b"x")[:-8], 400),
        ("multipart/related; type=application/dicom; boundary=xyz", multipart(b"x", kind="text/html"), 400),
        ("multipart/related; type=application/dicom", multipart(b"x"), 400),
        ("multipart/related; type=application/dicom; boundary=" + "y" * 300, multipart(b"x"), 400),
        ("multipart/related; type=text/html; boundary=xyz", multipart(b"x"), 415),
        ("application/json", b"{}", 415),
        ("", b"x", 415),
        ("application/dicom", b"\0" * 128 + b"DICM" + b"\xff" * 500, 400),
        ("application/dicom", b"\0" * (2**20 + 1), 413),
    ],
)
def test_bodies_that_cannot_be_stored(address, stored, kind, body, status):
    before = digests(stored.parent)
    assert post(address, body, kind).status_code == status
    assert digests(stored.parent) == before


def test_an_upload_without_a_stated_length_is_limited_too(address):
    pieces = (b"\0" * 65536 for _ in range(64))
    # The server may hang up while the rest is still on its way.
    with suppress(requests.ConnectionError):
        assert post(address, pieces).status_code == 413
    assert requests.get(f"{address}/studies", timeout=PATIENCE).status_code == 200


def test_an_object_sent_to_another_study_is_refused(client, tmp_path):
    with pytest.raises(requests.HTTPError, match="409"):
        client.store_instances([new_picture(tmp_path, "astray")], study_instance_uid=generate_uid())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("studies/1.2.3", 404),
        ("studies/1.2.3/metadata", 404),
        ("studies/1.2.3/series/1.2/metadata", 404),
        ("studies/{study}/series/1.2/instances/{uid}", 404),
        ("studies/1.2/series/{series}/instances/{uid}/frames/1", 404),
        ("studies/{study}/series/{series}/instances/1.2.3/rendered", 404),
        ("studies/{study}/series/{series}/instances/{uid}/frames/2", 404),
        ("studies/{study}/series/{series}/instances/{uid}/frames/0", 404),
        ("studies/{study}/series/{series}/instances/{uid}/frames/1,9", 404),
        ("studies/{study}/series/{series}/instances/{uid}/frames/one", 400),
        ("studies/{study}/series/{series}/instances/{uid}/frames/7/rendered", 404),
        ("studies/{study}/series/{series}/instances/{uid}/frames/0/rendered", 400),
        ("studies/no-uid", 400),
        ("studies/..%2f..%2fetc%2fpasswd", 404),
        ("studies/%2e%2e/metadata", 400),
        ("studies/" + "1" * 65, 400),
        ("studies/1.2%00/metadata", 400),
        ("etc/passwd", 404),
        ("studies?limit=-1", 400),
        ("studies?limit=ten", 400),
        ("studies?limit=²", 400),
        ("studies?offset=1e3", 400),
        ("studies?fuzzymatching=maybe", 400),
        ("studies?Nonsense=1", 400),
        ("studies?RepetitionTime=1", 400),
        ("studies?PatientID=" + "x" * 300, 400),
        ("studies?" + "&".join(["PatientID=x"] * 40), 400),
        ("studies?PatientID='; DROP TABLE studies;--", 200),
        ("studies?includefield=all&includefield=00081030,00080060", 200),
    ],
)
def test_wrong_addresses_get_a_sentence_and_no_server_error(address, folder, path, status):
    study, series, uid = uids_of(folder / "us" / "picture.dcm")
    answer = requests.get(f"{address}/{path.format(study=study, series=series, uid=uid)}", timeout=PATIENCE)
    assert answer.status_code == status
    if status != 200:
        assert answer.json()["detail"] and str(folder) not in answer.text


def test_what_a_client_does_not_accept_is_not_given(address, folder):
    path = folder / "us" / "jpeg.dcm"

    def status(url, accept):
        return requests.get(url, headers={"Accept": accept}, timeout=PATIENCE).status_code

    assert status(f"{address}/studies", "application/dicom+xml") == 406
    assert status(address_of(address, path), "text/html") == 406
    assert (
        status(address_of(address, path), 'multipart/related; type="application/dicom"; transfer-syntax=1.2.3') == 406
    )
    assert status(address_of(address, path, "frames", "1"), 'multipart/related; type="image/jp2"') == 406
    assert status(address_of(address, path, "rendered"), "video/mp4") == 406


def test_methods_that_would_change_files_are_not_there(address, folder):
    before = digests(folder)
    study, series, uid = uids_of(folder / "us" / "picture.dcm")
    for method in ("DELETE", "PUT", "PATCH"):
        for place in (f"studies/{study}", f"studies/{study}/series/{series}/instances/{uid}"):
            assert requests.request(method, f"{address}/{place}", timeout=PATIENCE).status_code == 405
    assert digests(folder) == before


def test_no_other_site_may_read_the_answers(address):
    answer = requests.get(f"{address}/studies", headers={"Origin": "https://elsewhere.example"}, timeout=PATIENCE)
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_files_that_come_go_and_break_are_noticed(client, folder):
    path = folder / "late" / "late.dcm"
    write_us_dicom(path, frames(1, seed=5), spacing=0.1, patient="Late^", uid_seed="late")
    assert names(client.search_for_studies(search_filters={"PatientID": "Late^"})) == ["Late^"]
    uids = uids_of(path)
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    with pytest.raises(requests.HTTPError, match="404"):
        client.retrieve_instance_frames(*uids, frame_numbers=[1])
    path.unlink()
    with pytest.raises(requests.HTTPError, match="404"):
        client.retrieve_instance(*uids)
    assert client.search_for_studies(search_filters={"PatientID": "Late^"}) == []


def damaged(data, number):
    """Returns a file with some bytes of its header changed, or cut off."""
    rng = np.random.default_rng(number)
    changed = bytearray(data)
    for place in rng.integers(132, min(len(data), 2500), rng.choice([1, 2, 5, 20])):
        changed[place] = rng.choice([0, 1, 255, rng.integers(256)])
    return bytes(changed[: rng.integers(200, len(data))] if number % 5 == 0 else changed)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["us/clip.dcm", "us/packed.dcm", "mr/0004.dcm"])
def test_damaged_files_never_break_the_server(folder, tmp_path, name):
    data = (folder / name).read_bytes()
    broken = tmp_path / "in" / "broken.dcm"
    broken.parent.mkdir()
    app = dicom_store_app(broken.parent, stored=tmp_path / "stored", refresh_seconds=0)
    client = TestClient(app, raise_server_exceptions=False)
    answered = []
    for number in range(20):
        broken.write_bytes(damaged(data, number))
        for found in client.get("/instances").json():
            study, series, uid = (found[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
            place = f"/studies/{study}/series/{series}/instances/{uid}"
            answered += [client.get(place + part).status_code for part in ("", "/metadata", "/frames/1", "/rendered")]
        headers = {"Content-Type": "application/dicom"}
        answered.append(client.post("/studies", content=broken.read_bytes(), headers=headers).status_code)
    assert len(answered) > 40 and max(answered) < 500


def test_eight_clients_at_once(address, folder, tmp_path):
    clip = folder / "us" / "clip.dcm"
    implicit = folder / "mr" / "0001.dcm"
    expected = frames(5)
    gate = threading.Barrier(8)

    def work(number):
        client = DICOMwebClient(address)
        gate.wait(PATIENCE)
        for turn in range(4):
            dataset = new_picture(tmp_path, f"client {number} turn {turn}")
            assert len(client.store_instances([dataset]).ReferencedSOPSequence) == 1
            uids = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
            assert values(client.search_for_instances(*uids[:2]), "SOPInstanceUID") == [uids[2]]
            np.testing.assert_array_equal(client.retrieve_instance(*uids).pixel_array, frames(1)[0])
            (frame,) = client.retrieve_instance_frames(*uids_of(clip), [turn + 1])
            np.testing.assert_array_equal(np.frombuffer(frame, np.uint8).reshape(33, 47), expected[turn])
            assert client.retrieve_instance(*uids_of(implicit)).pixel_array.shape == MR_SHAPE[1::-1]
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_addresses_keep_the_path_under_which_the_store_is_mounted(folder, tmp_path):
    app = FastAPI()
    app.mount("/pacs/dicom-web", dicom_store_app(folder / "us", stored=tmp_path / "stored"))
    client = TestClient(app, base_url="https://example.org:8443")
    (found,) = client.get("/pacs/dicom-web/studies", params={"PatientID": "US_clip^"}).json()
    study = found["0020000D"]["Value"][0]
    assert found["00081190"]["Value"] == [f"https://example.org:8443/pacs/dicom-web/studies/{study}"]
    assert client.get(found["00081190"]["Value"][0] + "/metadata").status_code == 200
    assert client.get("/pacs/dicom-web/studies/1.2.3/metadata").status_code == 404


def test_a_store_over_nothing_is_refused_and_makes_no_folder(tmp_path):
    with pytest.raises(BreastkitError, match="is not a folder"):
        dicom_store_app(tmp_path / "nowhere", stored=tmp_path / "nowhere" / "stored")
    (tmp_path / "file").write_text("")
    with pytest.raises(BreastkitError, match="choose another"):
        dicom_store_app(tmp_path, stored=tmp_path / "file" / "stored")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_description_of_the_interface_is_json(address):
    described = requests.get(f"{address}/openapi.json", timeout=PATIENCE)
    assert "/studies/{study}/series" in json.loads(described.text)["paths"]
