"""Tells when MONAI Label has put right what this server works around or leaves out."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

# What stands in the source for as long as a part of it is left out, and what stands in its place here.
LEFT_OUT = {
    "config.py": ['{"Modality": "CT"}', "MONAI_LABEL_DICOMWEB_CACHE_EXPIRY: int = 7200"],
    "endpoints/infer.py": ["async def api_run_inference", "request.update(p)"],
    "endpoints/info.py": ["async def"],
    "endpoints/user/auth.py": ["jwt.decode(token, key, options=options)"],
    "endpoints/proxy.py": ["async def proxy"],
    "endpoints/session.py": ["sessions.add_session(input_image, expiry, uncompress)"],
    "app.py": ['["*"]', "allow_credentials=True"],
    "main.py": ['default="0.0.0.0"'],
    "interfaces/app.py": ["self._download_dcmqi_tools()"],
    "interfaces/tasks/batch_infer.py": ["torch.cuda.device_count()"],
    "datastore/local.py": ["shutil.copy(label_filename, dest)"],
    "tasks/infer/basic_infer.py": ['"image_path"'],
    "tasks/train/bundle.py": ["partition_dataset"],
    "utils/async_tasks/utils.py": ['my_env["PYTHONPATH"]'],
}


def package():
    return Path(find_spec("monailabel").origin).parent


def test_pydicom_seg_still_looks_for_a_module_that_pydicom_renamed():
    program = "import pydicom_seg"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "_storage_sopclass_uids" in result.stderr, "prepare() is no longer needed"


def test_prepared_pydicom_seg_is_imported():
    program = "from breastkit.server.monailabel_fixes import prepare\nprepare()\nprepare()\nimport pydicom_seg"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("file", LEFT_OUT)
def test_what_is_left_out_is_still_as_it_was(file):
    source = (package() / file).read_text(encoding="utf-8")
    gone = [text for text in LEFT_OUT[file] if text not in source]
    assert not gone, f"{file} has changed: look whether the server may use it now"
