import os
import stat
import subprocess
import sys

import pytest

from breastkit.atomic import (
    atomic_folder,
    atomic_path,
    recorded_writes,
    refuse_unwritable,
    remove_leftovers,
    write_json,
    write_text,
)
from breastkit.errors import BreastkitError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_name_keeps_the_suffixes_and_the_result_is_readable(tmp_path):
    with atomic_path(tmp_path / "new" / "x.nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"1")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "new" / "x.nii.gz").stat().st_mode) == 0o666 & ~umask


def test_a_record_is_on_the_disk_before_its_name_and_the_name_before_the_call_returns(tmp_path, monkeypatch):
    target, flushed, flush = tmp_path / "record.json", [], os.fsync

    def note(descriptor):
        what = "names" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "content"
        flushed.append((what, target.exists()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write_json(target, {})
    assert flushed == [("content", False), ("names", True)]


def test_a_failed_folder_disappears(tmp_path):
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "out") as temporary:
        (temporary / "part").write_text("half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_what_is_written_can_be_recorded(tmp_path):
    write_text(tmp_path / "before.txt", "")
    with recorded_writes() as written:
        for text in ("once", "twice"):
            write_text(tmp_path / "a.txt", text)
        with atomic_folder(tmp_path / "folder") as temporary:
            (temporary / "b").write_text("")
        with pytest.raises(RuntimeError), atomic_path(tmp_path / "failed.txt"):
            raise RuntimeError
    write_text(tmp_path / "after.txt", "")
    assert list(written) == [tmp_path / "a.txt", tmp_path / "folder" / "b"]


def test_folders_that_cannot_be_written_are_refused_before_anything_is_made(tmp_path):
    refuse_unwritable(tmp_path / "new" / "folder")
    write_text(tmp_path / "file", "")
    with pytest.raises(BreastkitError, match="a file stands where a folder is needed"):
        refuse_unwritable(tmp_path / "file" / "folder")
    if os.geteuid():
        tmp_path.chmod(0o500)
        with pytest.raises(BreastkitError, match="the folder is not writable"):
            refuse_unwritable(tmp_path / "new")
        tmp_path.chmod(0o700)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_filled_folder_is_refused(tmp_path):
    write_json(tmp_path / "out" / "x.json", {"umlaut": "Größe"})
    with pytest.raises(BreastkitError, match="not empty"), atomic_folder(tmp_path / "out"):
        pass


def test_leftovers_of_killed_processes_go_and_nothing_else(tmp_path):
    (tmp_path / ".writing-old.pt").write_text("half")
    (tmp_path / ".writing-folder").mkdir()
    write_text(tmp_path / ".writing-folder" / "part.txt", "half")
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    (tmp_path / ".writing-new.pt").write_text("being written")
    kept = write_text(tmp_path / "a.txt", "done")
    remove_leftovers(tmp_path, untouched_for=3600)
    assert sorted(tmp_path.iterdir()) == [tmp_path / ".writing-new.pt", kept]
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [kept]
    remove_leftovers(tmp_path / "nowhere")


def test_a_file_in_place_of_the_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BreastkitError, match=r"file.*a file stands where a folder is needed"):
        write_text(tmp_path / "file" / "x.txt", "")


@pytest.mark.skipif(sys.platform != "linux", reason="mounts are made with Linux tools")
def test_no_space_left_is_one_sentence(tmp_path):
    # A file system of one small size is what really fills up; unshare gives a mount of our own where that is allowed.
    script = (
        "import sys; from breastkit.atomic import write_text; from breastkit.errors import sentence_of\n"
        "try: write_text(sys.argv[1] + '/big.txt', 'x' * 200_000)\n"
        "except Exception as error: print(sentence_of(error)); print(__import__('os').listdir(sys.argv[1]))\n"
    )
    command = f'mount -t tmpfs -o size=64k none "{tmp_path}" && exec "{sys.executable}" -c "$SCRIPT" "{tmp_path}"'
    result = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", command],
        env=os.environ | {"SCRIPT": script},
        capture_output=True,
        text=True,
    )
    if result.returncode:
        pytest.skip("mounting is not allowed here")
    assert "no space is left on the device" in result.stdout
    assert result.stdout.endswith("[]\n")
