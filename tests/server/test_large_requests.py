"""Small requests that would become large: refused before anything is decoded, by what their headers say."""

import gzip
import io
import os
import struct
import threading
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
import requests
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless, generate_uid
from tests.apps.server_process import free_port
from tests.server.labels.restarted_server import RestartedServer

from breastkit.dicom.write_us import write_us_dicom
from breastkit.images import write_png

MODEL, TISSUE = "breast_us_lesion_segmentation", "breast_mri_tissue_segmentation"
# What the issue's picture had: 9400 squared.
SIDE = 9400
MOST_MIB = 1536


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_zeros(side):
    """Returns a gray picture of zeros, row by row, so that it is never in memory here."""
    packer, row = zlib.compressobj(9), bytes(side + 1)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def nifti_of_zeros(sides):
    """Returns a compressed volume of zeros, int16, but for its last slice: one value everywhere is refused."""
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(sides)
    header.set_sform(np.eye(4), 1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as file:
        file.write(header.binaryblock + bytes(4))
        for _ in range(sides[2] - 1):
            file.write(bytes(2 * sides[0] * sides[1]))
        file.write(b"\1\0" * (sides[0] * sides[1]))
    return packed.getvalue()


def us_object(folder, frame, *, syntax, rows, columns, frames=1):
    """Returns an ultrasound object with a compressed frame, and where it lies once it is stored."""
    path = write_us_dicom(folder / "one.dcm", np.zeros((8, 8), np.uint8), spacing=0.1, patient="L", uid_seed="large")
    dataset = pydicom.dcmread(path)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = rows, columns, frames
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame] * frames)
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    study, series, uid = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    return file.getvalue(), f"studies/{study}/series/{series}/instances/{uid}"


def jpeg_2000(side):
    """Returns a code stream of one value, which is small whatever its size."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("L", (side, side)).save(file, "JPEG2000", no_jp2=True)
    return file.getvalue()


def rle_bomb(held):
    """Returns a frame of runs of 128 bytes."""
    return struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\x00" * (held // 128)


def jpeg_ls_header(side):
    return b"\xff\xd8\xff\xf7" + struct.pack(">HBHHBBBB", 11, 8, side, side, 1, 1, 0x11, 0) + bytes(200)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    picture = np.random.default_rng(0).integers(0, 255, (40, 60), dtype=np.uint8)
    write_png(folder / "files" / "us.png", picture)
    write_us_dicom(folder / "dicom" / "us.dcm", picture, spacing=0.1, patient="US", uid_seed="large")
    (folder / "dicom" / "many").mkdir()
    clip = np.zeros((4, 400, 400), np.uint8)
    write_us_dicom(folder / "dicom" / "many" / "clip.dcm", clip, spacing=0.1, patient="CLIP", uid_seed="clip")
    return folder


@pytest.fixture(scope="module")
def dicom_server(places):
    from tests.server.served_app import served

    with served(places / "dicom", conf={"labels": str(places / "dicom_labels")}) as (address, services):
        yield address, services


def stored(address, content):
    headers = {"Content-Type": "application/dicom"}
    return requests.post(f"{address}/dicom-web/studies", data=content, headers=headers)


LARGE_FRAMES = {
    "larger than its header says, JPEG 2000": (lambda: jpeg_2000(3000), JPEG2000Lossless, 64),
    "larger than its header says, RLE": (lambda: rle_bomb(2**26), RLELossless, 64),
    "larger than its header says, JPEG-LS": (lambda: jpeg_ls_header(30_000), JPEGLSLossless, 64),
    "as large as its header says": (lambda: jpeg_2000(4200), JPEG2000Lossless, 4200),
}


@pytest.mark.parametrize("name", LARGE_FRAMES)
def test_a_frame_that_is_too_large_is_not_decoded(dicom_server, tmp_path, name):
    make, syntax, side = LARGE_FRAMES[name]
    content, place = us_object(tmp_path, make(), syntax=syntax, rows=side, columns=side)
    assert stored(dicom_server[0], content).status_code == 200
    address = f"{dicom_server[0]}/dicom-web/{place}"
    raw = {"Accept": 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1'}
    answers = [
        requests.get(f"{address}/rendered"),
        requests.get(f"{address}/thumbnail"),
        requests.get(f"{address}/frames/1", headers=raw),
        requests.get(address, headers={"Accept": "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"}),
    ]
    assert [answer.status_code for answer in answers] == [413] * 4, [answer.text[:200] for answer in answers]
    series = place.split("/")[3]
    refused = requests.post(f"{dicom_server[0]}/infer/{MODEL}?image={series}&output=json")
    assert refused.status_code == 400
    # As it is stored it is given out: the viewer decodes it.
    assert requests.get(f"{address}/frames/1").status_code == 200


def test_a_frame_asked_for_two_thousand_times_is_refused(dicom_server):
    address, services = dicom_server
    (clip,) = [one for one in services.store.images.index if one.path.name == "clip.dcm"]
    place = f"{address}/dicom-web/studies/{clip.study}/series/{clip.series}/instances/{clip.uid}/frames"
    assert requests.get(f"{place}/{','.join(['1'] * 2000)}").status_code == 413
    assert requests.get(f"{place}/1,2,3,4").status_code == 200


def test_pictures_and_volumes_are_refused_by_their_headers(dicom_server, places):
    from tests.server.served_app import served

    with served(places / "files", conf={"labels": str(places / "file_labels")}) as (address, _):
        for name, content in (("x.png", png_of_zeros(SIDE)), ("x.nii.gz", nifti_of_zeros((2000, 2000, 20)))):
            answers = [
                requests.post(f"{address}/infer/{MODEL}?output=json", files={"file": (name, content)}),
                requests.put(f"{address}/session/", files={"files": (name, content)}),
                requests.put(f"{address}/datastore/image?image=large", files={"file": (name, content)}),
                requests.put(f"{address}/datastore/label?image=us", files={"label": (name, content)}),
            ]
            assert [answer.status_code for answer in answers] == [400] * 4, [answer.text for answer in answers]


class Watched(threading.Thread):
    """Watches how much memory a process has, and how long small requests wait, until it is told to stop."""

    def __init__(self, pid, address):
        super().__init__()
        self.pid, self.address, self.stopped = pid, address, threading.Event()
        self.peak, self.longest = 0, 0.0

    def run(self):
        session = requests.Session()
        while not self.stopped.wait(0.005):
            self.peak = max(self.peak, resident(self.pid))
            begun = time.monotonic()
            assert session.get(f"{self.address}/auth/", timeout=60).status_code == 200
            self.longest = max(self.longest, time.monotonic() - begun)


def resident(pid):
    """Returns how many MiB a process has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20


def large_requests(folder):
    """Returns requests that are as large as they may be, and the issue's, each with its name."""
    gray = cv2.imencode(".png", np.random.default_rng(0).integers(0, 9, (4096, 4096), dtype=np.uint8))[1].tobytes()
    volume = nifti_of_zeros((512, 512, 256))

    def infer(name, content, model=MODEL):
        return lambda at: requests.post(f"{at}/infer/{model}?output=image", files={"file": (name, content)})

    def put(what, name, content):
        return lambda at: requests.put(f"{at}/{what}", files={"file" if "image" in what else "files": (name, content)})

    def store_and_look(side):
        content, place = us_object(folder, jpeg_2000(side), syntax=JPEG2000Lossless, rows=side, columns=side)

        def ask(at):
            stored(at, content)
            return requests.get(f"{at}/dicom-web/{place}/rendered")

        return ask

    return {
        "PNG of 9400 squared": ("files", infer("x.png", png_of_zeros(SIDE))),
        "PNG of 4096 squared": ("files", infer("x.png", gray)),
        "volume of 2^26 voxels": ("files", infer("x.nii.gz", volume, TISSUE)),
        "volume of 2^26 voxels, kept": ("files", put("datastore/image?image=large", "x.nii.gz", volume)),
        "volume of 2^26 voxels, lent": ("files", put("session/", "x.nii.gz", volume)),
        "JPEG 2000 of 9400 squared": ("dicom", store_and_look(SIDE)),
        "JPEG 2000 of 4096 squared": ("dicom", store_and_look(4096)),
    }


@pytest.mark.slow
def test_no_single_request_needs_more_memory_than_it_may(places, tmp_path, record_property):
    measured = {}
    for kind in ("files", "dicom"):
        folder = tmp_path / kind
        folder.mkdir()
        words = ["--studies", str(places / kind), "--labels", str(folder / "labels")]
        server = RestartedServer(words, port=free_port(), folder=folder)
        for name, (where, ask) in large_requests(tmp_path).items():
            if where != kind:
                continue
            pid = server.start()
            before = resident(pid)
            watched = Watched(pid, server.address)
            watched.start()
            begun = time.monotonic()
            status = ask(server.address).status_code
            seconds = time.monotonic() - begun
            watched.stopped.set()
            watched.join()
            measured[name] = (status, round(seconds, 1), watched.peak - before, round(watched.longest, 2))
            os.kill(pid, 9)
            server.ended()
        server.close()
    for name, figures in measured.items():
        record_property(name, figures)
    assert all(status < 500 and grown < MOST_MIB for status, _, grown, _ in measured.values()), measured
