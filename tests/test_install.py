"""What pip is configured to do, told to uv."""

import os
import runpy
import subprocess
import sys
import venv
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "tools" / "install.py"
install = runpy.run_path(str(SCRIPT), run_name="install")


def test_an_index_of_ones_own():
    lines = [
        "global.index-url='https://packages.example/simple'",
        "global.extra-index-url='file:///a/simple file:///b/simple'",
        "install.find-links='/wheels'",
        "global.cert='/etc/one.pem'",
    ]
    options, variables = install["uv_settings"](lines)
    assert options == [
        *("--default-index", "https://packages.example/simple"),
        *("--index", "file:///a/simple", "--index", "file:///b/simple"),
        *("--find-links", "/wheels"),
    ]
    assert variables == {"SSL_CERT_FILE": "/etc/one.pem"}


def test_a_variable_wins_over_a_file_wherever_it_is_listed():
    lines = [":env:.index-url='https://b.example'", "install.index-url='https://a.example'", "global.proxy='http://p'"]
    assert install["uv_settings"](lines) == (["--default-index", "https://b.example"], {"ALL_PROXY": "http://p"})


@pytest.mark.parametrize(("value", "options"), [("true", ["--no-index"]), ("false", [])])
def test_no_index(value, options):
    assert install["uv_settings"]([f"global.no-index='{value}'"])[0] == options


def test_other_settings_are_pips_own():
    assert install["uv_settings"](["global.disable-pip-version-check='1'", "freeze.timeout='10'", ""]) == ([], {})


def test_lines_over_several_lines_of_a_file():
    """pip prints a value of several lines with its line ends written out."""
    options, _ = install["uv_settings"]([r"global.find-links='\n/a\n/b'"])
    assert options == ["--find-links", "/a", "--find-links", "/b"]


def test_a_package_is_installed_for_real_with_uv_and_without(tmp_path):
    """A wheel made here, from a folder that only pip's configuration names."""
    package = tmp_path / "tiny"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "tiny-package"\nversion = "1"\n[tool.setuptools]\npy-modules = ["tiny_package"]\n'
    )
    (package / "tiny_package.py").write_text("VALUE = 3\n")
    wheels = [sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*wheels, "-w", str(tmp_path / "wheels"), str(package)], check=True)
    place = tmp_path / "environment"
    venv.create(place, with_pip=True)
    settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels"), "HOME": str(tmp_path)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "PYTHONPATH"))}
    python = str(place / "bin" / "python")
    for with_uv in (False, True):
        if with_uv:
            # The environment's own uv, lent: the program beside its module.
            here = Path(sys.prefix)
            site = next((place / "lib").glob("python*/site-packages"))
            (site / "uv").symlink_to(next((here / "lib").glob("python*/site-packages/uv")))
            (place / "bin" / "uv").symlink_to(here / "bin" / "uv")
            subprocess.run([python, "-m", "pip", "-q", "uninstall", "-y", "tiny-package"], check=True, env=kept)
        done = subprocess.run(
            [python, str(SCRIPT), "tiny-package"], env=kept | settings, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert list(place.rglob("tiny_package*.pyc"))
        assert subprocess.run([python, "-c", "import tiny_package"], env=kept).returncode == 0
    assert (place / ".uv-cache").is_dir()
