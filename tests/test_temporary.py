import os
import subprocess
import sys
import time

import pytest

from breastkit import temporary
from breastkit.temporary import remove_abandoned_folders, temporary_folder

KILLED = """
import os, signal
from breastkit.temporary import temporary_folder
with temporary_folder("test") as folder:
    (folder / "image.dcm").write_bytes(b"a patient's")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(temporary.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def killed(place):
    """Returns the folder of a process that was killed two minutes ago."""
    environment = os.environ | {"TMPDIR": str(place)}
    subprocess.run([sys.executable, "-c", KILLED], env=environment, capture_output=True, timeout=120)
    (folder,) = place.iterdir()
    aged(folder)
    return folder


def aged(folder):
    os.utime(folder, (time.time() - 120,) * 2)


def test_it_is_removed_at_the_end_and_private(place):
    with temporary_folder("test") as folder:
        assert folder.parent == place
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "image.dcm").write_bytes(b"")
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_removed(place):
    assert (killed(place) / "image.dcm").exists()
    remove_abandoned_folders()
    assert list(place.iterdir()) == []


def test_what_was_just_made_stays(place):
    os.utime(killed(place))
    remove_abandoned_folders()
    assert len(list(place.iterdir())) == 1


def test_what_is_in_use_and_what_is_not_ours_stays(place):
    other, link = place / "other", place / "breastkit-temporary-link"
    other.mkdir()
    aged(other)
    link.symlink_to(other)
    with temporary_folder("test") as folder:
        aged(folder)
        remove_abandoned_folders()
        assert folder.exists()
        assert other.exists()
        assert link.is_symlink()
