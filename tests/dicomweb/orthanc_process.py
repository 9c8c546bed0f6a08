"""Orthanc with its DICOMweb plugin, the PACS of many research groups, in a process of its own for tests."""

import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from tests.apps.server_process import free_port

_PLUGINS = [Path(folder, "libOrthancDicomWeb.so") for folder in ("/usr/share/orthanc/plugins", "/usr/lib/orthanc")]
_PATIENCE = 180


@contextmanager
def orthanc_process(folder, *, environment=None, port=None, **further):
    """Yields the DICOMweb address of an Orthanc that runs until the block ends; skipped where there is none.

    Args:
        folder: for its files.
        environment: of the process; that of the test by default.
        port: a free one by default.
        further: settings.
    """
    program = shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    plugin = next((path for path in _PLUGINS if path.exists()), None)
    if program is None or plugin is None:
        pytest.skip("no Orthanc with DICOMweb here; 'apt-get install orthanc orthanc-dicomweb' brings it")
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(plugin)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        **further,
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log, env=environment)
        try:
            _wait_for(f"http://127.0.0.1:{port}/dicom-web/studies", process, folder / "log.txt")
            yield f"http://127.0.0.1:{port}/dicom-web"
        finally:
            process.terminate()
            process.wait(60)


def upload(address, files):
    """Stores DICOM files in an Orthanc by its own interface, as its users do."""
    for path in files:
        answer = requests.post(address.replace("/dicom-web", "/instances"), data=path.read_bytes(), timeout=60)
        assert answer.status_code == 200, answer.text


def _wait_for(address, process, log):
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            if requests.get(address, timeout=10).status_code == 200:
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)
    raise AssertionError(log.read_text())
