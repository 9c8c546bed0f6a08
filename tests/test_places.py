"""What comes with the package is found in the checkout and in a wheel, which runs where there is no checkout."""

import csv
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from breastkit import places
from breastkit.images import write_png
from breastkit.phantoms.us.pictures import make_us_phantom

ROOT = Path(__file__).parent.parent


def test_the_checkout_is_used_where_there_is_one(monkeypatch):
    monkeypatch.delenv("BREASTKIT_BUNDLES", raising=False)
    assert places.bundle_folders() == [ROOT / "bundles"]
    assert (places.app_folder() / "main.py").is_file()
    assert (places.shipped("mlflow") / "tracking.json").is_file()


def test_inside_a_wheel_its_own_are_used_after_those_of_the_user(tmp_path, monkeypatch):
    inside = tmp_path / "breastkit" / "shipped"
    inside.mkdir(parents=True)
    monkeypatch.setattr(places, "_IN_WHEEL", inside)
    monkeypatch.setenv("BREASTKIT_BUNDLES", str(tmp_path / "own"))
    assert places.bundle_folders() == [tmp_path / "own", inside / "bundles"]
    assert places.app_folder() == inside / "apps" / "breast_monailabel"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built of links to the checkout, where nothing is to be left behind."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    (source / "tools").mkdir(parents=True)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "bundles", "apps", "mlflow", "tools/breastkit"):
        (source / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*command, "-w", str(folder), str(source)], check=True)
    (path,) = folder.glob("breastkit-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The Python of an environment with nothing but the wheel and, behind it, the packages that it stands on."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # A path alone: the .pth files there, by which the checkout is found, are not read.
    packages = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    (site / "packages.pth").write_text(f"{packages}\n")
    return folder / "bin" / "python"


def breastkit(installed, folder, *words):
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "BREASTKIT_BUNDLES")}
    command = [installed, "-m", "breastkit.cli", *words]
    return subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_a_wheel_runs_in_an_empty_folder(installed, tmp_path):
    write_png(tmp_path / "pictures" / "us.png", make_us_phantom(5, 1).image)
    done = breastkit(installed, tmp_path, "run", "us", "pictures", "--out", "us")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "us" / "results.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["p_malignant"]) >= 0
    # Which weights ran is logged.
    assert f"runs with {installed.parents[1].resolve()}" in done.stderr
    assert str(ROOT) not in done.stderr


@pytest.mark.slow
def test_a_wheel_has_every_file_of_the_bundles_and_the_app(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = {name.removeprefix("breastkit/shipped/") for name in archive.namelist() if "/shipped/" in name}
    tracked = subprocess.run(
        ["git", "ls-files", "bundles", "apps/breast_monailabel", "mlflow"], cwd=ROOT, capture_output=True, text=True
    )
    assert inside == {name for name in tracked.stdout.splitlines() if not Path(name).name.startswith(".")}
