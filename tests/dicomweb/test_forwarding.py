"""DICOMweb of another server under our address: what is stored there."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from tests.dicom.scans import AXIAL, affine_of, an_l, write_mask, write_scan
from tests.dicom.test_repair_seg import as_by_a_viewer

from breastkit.dicom.repair_seg import repaired_segmentation
from breastkit.dicomweb.forwarding import forwarding
from breastkit.dicomweb.multipart_related import PartsWriter, dicom_objects_in


@pytest.fixture
def taken():
    """What a server has taken, the first of which is its address."""
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bodies.append((self.headers["Content-Type"], body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    bodies.append(f"http://127.0.0.1:{server.server_port}")
    yield bodies
    server.shutdown()
    thread.join()
    server.server_close()


def test_segmentations_are_made_whole_and_all_else_is_passed_on_as_it_is(taken, tmp_path):
    scan = write_scan(tmp_path / "mr", affine_of(AXIAL))
    lacking = as_by_a_viewer(write_mask(tmp_path / "seg.dcm", scan, an_l()).read_bytes())
    image, seen = next(scan.iterdir()).read_bytes(), []
    application = FastAPI()
    application.include_router(forwarding(taken[0], after_storing=lambda data, _request: seen.append(data) or ""))
    client = TestClient(application)
    writer = PartsWriter("application/dicom")
    for objects in ([image], [image, lacking]):
        body = b"".join(writer.write(("application/dicom", one) for one in objects))
        headers = {"content-type": writer.content_type}
        assert client.post("/dicom-web/studies", content=body, headers=headers).status_code == 200
        kind, sent = taken[-1]
        whole = [repaired_segmentation(one) for one in objects]
        assert dicom_objects_in(kind, sent) == seen == whole
        assert (sent == body) == (whole == objects)
        seen.clear()
    # Whether that can be stored is for the other server to say.
    client.post("/dicom-web/studies", content=b"no parts", headers={"content-type": "multipart/related; boundary=x"})
    assert taken[-1] == ("multipart/related; boundary=x", b"no parts")
