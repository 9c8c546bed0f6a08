"""Hands a bundle on: one zip with everything that another machine needs, laid out as the model zoo has it."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

from breastkit.atomic import atomic_path, refuse_unwritable, write_json
from breastkit.bundle import CURRENT, PROMOTION, Bundle
from breastkit.errors import BreastkitError
from breastkit.models.card import fill_card
from breastkit.promotion import REGISTRATION
from breastkit.temporary import temporary_folder
from breastkit.weights import FILE_NAME, check_hash, read_model_json

# Who promoted what, and from which folder of this machine, is nobody else's business.
_STAYS_HERE = shutil.ignore_patterns(CURRENT, PROMOTION, REGISTRATION, "__pycache__", ".*")


def pack_bundle(name: str, out: str, *, models: str | None = None) -> Path:
    """Packs a bundle with the weights in use, its model card and exports to TorchScript, ONNX and OpenVINO.

    ``models/parity.json`` says how far every export is from what torch computes.

    Args:
        name: of the bundle.
        out: the folder for NAME_vVERSION.zip; one of that name is replaced.
        models: where promoted versions are kept; what BREASTKIT_MODELS names, else work/models, by default.

    Returns:
        The zip.

    Raises:
        BreastkitError: if weights are not those their model.json describes, or an export computes something else.
    """
    bundle = Bundle(name, models=models)
    path = Path(out) / f"{bundle.name}_v{bundle.metadata['version']}.zip"
    refuse_unwritable(out)
    check_hash(bundle.weights_in_use)
    with temporary_folder("pack") as folder:
        packed = _copied(bundle, folder / bundle.name)
        fill_card(name, out=str(packed.folder / "docs" / "README.md"), models=models)
        # Imported here: torch and MONAI take seconds, and what is wrong with the weights has been said by now.
        from breastkit.models.exporting import export

        export(packed)
        return _zipped(packed.folder, path)


def _copied(bundle: Bundle, folder: Path) -> Bundle:
    """Copies a bundle, with the weights in use as its default ones and, of folds, those that go with them."""
    for part in ("configs", "docs", "LICENSE"):
        source = bundle.folder / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=_STAYS_HERE)
        elif source.is_file():
            shutil.copy2(source, folder / part)
        else:
            raise BreastkitError(f"{source} does not exist; a bundle that is handed on has its {part}.")
    shutil.copytree(bundle.weights_in_use.parent, folder / "models", ignore=_STAYS_HERE)
    for weights in bundle.further_weights.values():
        shutil.copytree(weights.parent, folder / "models" / weights.parent.name, dirs_exist_ok=True)
    for weights in (folder / "models").rglob(FILE_NAME):
        check_hash(weights)
    _name_architecture(folder)
    return Bundle(folder, models=folder.parent / "none")


def _name_architecture(folder: Path) -> None:
    """Makes the weights' architecture that of ``train.json``: by that alone `monai.bundle.load` builds the network.

    With another one it says nothing and leaves the network's random values as they are.
    """
    path, architecture = folder / "configs" / "train.json", read_model_json(folder / "models")["architecture"]
    config = json.loads(path.read_text(encoding="utf-8"))
    if config["architecture"] != architecture:
        write_json(path, {**config, "architecture": architecture})


def _zipped(folder: Path, path: Path) -> Path:
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            # With the bundle's name above: MONAI unpacks it into a folder of bundles.
            archive.write(file, file.relative_to(folder.parent))
    return path
