"""Networks by name: a bundle's own out of its `networks.json`, and the presets that bundles share.

A `networks.json` names MONAI component configs. Two of its keys are no networks: ``_presets_`` takes in everything of
this package's `presets.json` and says what these leave open, such as ``{"in_channels": 3}``; ``_renamed_`` names what a
network was called before, and what it is called now.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from torch import nn

from breastkit.errors import BreastkitError

PRESETS = Path(__file__).with_name("presets.json")
_OPTIONS, _RENAMED = "_presets_", "_renamed_"


def names_in(path: str | Path) -> list[str]:
    """Returns the names of the networks a file offers, its own first.

    Raises:
        BreastkitError: if the file is missing or no JSON object.
    """
    return list(_networks(_read(path)))


def from_file(path: str | Path, name: str) -> nn.Module:
    """Builds the network of that name.

    Args:
        path: a JSON file of MONAI component configs by name, such as a bundle's ``configs/networks.json``.
        name: which of them.

    Raises:
        BreastkitError: if the file is missing or has no network of that name.
    """
    content = _read(path)
    networks = _networks(content)
    if name in (renamed := content.get(_RENAMED, {})):
        raise BreastkitError(
            f"{path} has no network '{name}' any more; give --architecture {renamed[name]}, as it is called now."
        )
    if name not in networks:
        raise BreastkitError(f"{path} has no network '{name}'; choose one of {', '.join(networks)}.")
    return _built({**content.get(_OPTIONS, {}), **networks}, name)


def preset(name: str, *, in_channels: int = 1) -> nn.Module:
    """Builds a preset.

    Args:
        name: which of them.
        in_channels: of the images; a network with a pre-trained encoder takes one, which it repeats, or three.

    Raises:
        BreastkitError: if there is none of that name.
    """
    networks = _read(PRESETS)
    if name not in networks:
        raise BreastkitError(f"{PRESETS} has no network '{name}'; choose one of {', '.join(networks)}.")
    return _built({"in_channels": in_channels, **networks}, name)


def _built(content: dict[str, Any], name: str) -> nn.Module:
    network: nn.Module = ConfigParser(content).get_parsed_content(name)
    return network


def _networks(content: dict[str, Any]) -> dict[str, Any]:
    own = {name: network for name, network in content.items() if name not in (_OPTIONS, _RENAMED)}
    return {**own, **_read(PRESETS)} if _OPTIONS in content else own


def _read(path: str | Path) -> dict[str, Any]:
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
