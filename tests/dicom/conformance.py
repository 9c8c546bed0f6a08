"""DICOM objects judged by dciodvfy, of Debian's dicom3tools; what needs it is skipped where it is missing."""

import shutil
import subprocess

import pytest

needs_dciodvfy = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy is not installed (apt-get install dicom3tools)"
)


def errors_of(path):
    """Returns what dciodvfy calls an error in a file; that it was understood at all is asserted."""
    told = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    lines = (told.stdout + told.stderr).splitlines()
    kinds = ("Segmentation", "Comprehensive3DSR", "EncapsulatedPDF", "SCImage", "MRImage")
    assert any(line in kinds for line in lines), lines
    return [line for line in lines if line.startswith(("Error", "Abort"))]
