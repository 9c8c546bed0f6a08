"""What configs ask: where their bundle lies, and whether a switch is on."""

from __future__ import annotations

from pathlib import Path


def bundle_folder(name: str) -> str:
    """Returns the folder of a bundle: the working folder where that is it, else the one beside this package's sources.

    It is the default of every config's ``bundle_root``, because ``monai.bundle.load`` and ``verify_net_in_out`` do not
    set that; ``--bundle_root`` names a bundle that was copied elsewhere.

    Args:
        name: the bundle, for example ``breast_mri_tissue_segmentation``.
    """
    here = Path.cwd()
    if here.name == name and (here / "configs" / "metadata.json").is_file():
        return str(here)
    return str(Path(__file__).resolve().parents[2] / "bundles" / name)


def is_yes(value: bool | str) -> bool:
    """Reads a switch of a command line, where ``--resume false`` arrives as text."""
    return str(value).strip().lower() not in ("false", "no", "0", "none", "")
