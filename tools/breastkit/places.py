"""Where that lies which comes with the package and is no Python of it: bundles, MONAI Label app, MLflow settings."""

from __future__ import annotations

import os
from pathlib import Path

# Made by setup.py.
_IN_WHEEL = Path(__file__).resolve().parent / "shipped"
_CHECKOUT = Path(__file__).resolve().parents[2]


def shipped(part: str) -> Path:
    """Returns a folder that comes with the package: of the checkout, or inside a package installed from a wheel.

    Args:
        part: its path in the checkout, for example ``mlflow``.
    """
    return (_IN_WHEEL if _IN_WHEEL.is_dir() else _CHECKOUT) / part


def bundle_folders() -> list[Path]:
    """Returns the folders of bundles, one's own first: the one ``BREASTKIT_BUNDLES`` names and that of the package."""
    own = os.environ.get("BREASTKIT_BUNDLES")
    return [Path(own), shipped("bundles")] if own else [shipped("bundles")]


def app_folder() -> Path:
    """Returns the folder of the MONAI Label app."""
    return shipped("apps/breast_monailabel")
