"""Networks by name, out of a bundle's `networks.json`."""

from __future__ import annotations

import json
from pathlib import Path

from monai.bundle import ConfigParser
from torch import nn

from breastkit.errors import BreastkitError


def names_in(path: str | Path) -> list[str]:
    """Returns the names of the networks a file spells out.

    Raises:
        BreastkitError: if the file is missing or no JSON object.
    """
    return list(_read(path))


def from_file(path: str | Path, name: str) -> nn.Module:
    """Builds the network of that name.

    Args:
        path: a JSON file of MONAI component configs by name, such as a bundle's ``configs/networks.json``.
        name: which of them.

    Raises:
        BreastkitError: if the file is missing or has no network of that name.
    """
    networks = _read(path)
    if name not in networks:
        raise BreastkitError(f"{path} has no network '{name}'; choose one of {', '.join(networks)}.")
    return ConfigParser({"network": networks[name]}).get_parsed_content("network")


def _read(path: str | Path) -> dict[str, dict]:
    path = Path(path)
    if not path.is_file():
        raise BreastkitError(f"{path} does not exist; give the bundle's folder with --bundle_root.")
    try:
        networks = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise BreastkitError(f"{path} is no JSON ({error}); put it right or restore it.") from error
    if not isinstance(networks, dict):
        raise BreastkitError(f"{path} is no JSON object of networks by name; put it right or restore it.")
    return networks
