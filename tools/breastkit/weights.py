"""Weights as they ship: a plain state dict, and beside it a `model.json` that says what they are.

What only asks for those facts need not wait for torch, which is imported where weights are read or written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from breastkit.atomic import atomic_path, write_json
from breastkit.errors import BreastkitError
from breastkit.logs import get_logger

if TYPE_CHECKING:
    import torch
    from ignite.engine import Engine
    from torch import nn

FILE_NAME = "model.pt"
_NO_WEIGHTS = "train first, or name the weights with --ckpt_path"
logger = get_logger(__name__)


def save_weights(folder: str | Path, network: nn.Module | Mapping[str, torch.Tensor], **facts: Any) -> Path:
    """Writes ``model.pt`` and ``model.json`` into a folder and returns the path of the weights.

    Args:
        folder: where to; made when missing.
        network: the network itself, not its distributed wrapper, or its state dict.
        facts: what to say about the weights: architecture, image_size, threshold, case_list_hash, run, figures.
    """
    import torch
    from torch import nn

    path = Path(folder) / FILE_NAME
    state = network.state_dict() if isinstance(network, nn.Module) else network
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    with atomic_path(path) as temporary:
        # Given a path, torch would write the temporary name into the file: equal weights would differ in their hash.
        with temporary.open("wb") as file:
            torch.save(state, file)
        digest = sha256_of(temporary)
    write_json(path.with_suffix(".json"), {"sha256": digest, **facts})
    return path


def add_facts(folder: str | Path, **facts: Any) -> dict[str, Any]:
    """Adds facts to the ``model.json`` of a folder and returns them all; a dict is merged into the one there."""
    path = Path(folder) / FILE_NAME
    known = read_model_json(path)
    for key, value in facts.items():
        known[key] = {**known[key], **value} if isinstance(value, dict) and isinstance(known.get(key), dict) else value
    write_json(path.with_suffix(".json"), known)
    return known


def read_model_json(path: str | Path) -> dict[str, Any]:
    """Returns what the ``model.json`` beside a weights file says.

    Args:
        path: the weights, or the folder they are in.

    Raises:
        BreastkitError: if there is none or it cannot be read.
    """
    weights = weights_file(path)
    path = weights.with_suffix(".json")
    if not weights.is_file():
        raise BreastkitError(f"{weights} does not exist; {_NO_WEIGHTS}.")
    if not path.is_file():
        raise BreastkitError(f"{path} does not exist; it is written beside the weights, restore it from there.")
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BreastkitError(f"{path} is no JSON ({error}); restore it from where the weights come from.") from error
    if not isinstance(facts, dict):
        raise BreastkitError(f"{path} says nothing of its weights; restore it from where the weights come from.")
    return facts


def load_weights(
    path: str | Path, network: nn.Module | None = None, *, of_a_part: bool = False
) -> dict[str, torch.Tensor]:
    """Reads weights, checks them against their ``model.json`` where there is one, and puts them into a network.

    Args:
        path: the weights, or the folder they are in.
        network: what to load into; None only reads.
        of_a_part: they may be of a part of the network, or of one that takes fewer channels; the rest stays as it is,
            and what further channels add begins at zero.

    Returns:
        The state dict, on the CPU.

    Raises:
        BreastkitError: if the file is missing, damaged, not the one ``model.json`` describes, or of another network.
    """
    import torch

    path = weights_file(path)
    if not path.is_file():
        raise BreastkitError(f"{path} does not exist; {_NO_WEIGHTS}.")
    facts = check_hash(path) if path.with_suffix(".json").is_file() else {}
    try:
        state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BreastkitError(f"{path} holds no plain weights or is damaged; copy it again or train anew.") from error
    if network is not None:
        _fill(network, state, path, facts.get("architecture"), of_a_part=of_a_part)
    return state


def check_hash(path: str | Path) -> dict[str, Any]:
    """Makes sure that weights are those that their ``model.json`` describes, and returns what that says.

    Raises:
        BreastkitError: if they are missing or others.
    """
    path = weights_file(path)
    facts = read_model_json(path)
    if facts.get("sha256", (digest := sha256_of(path))) != digest:
        raise BreastkitError(
            f"{path} is not the file {path.with_suffix('.json').name} beside it describes (sha256 differs); "
            "copy both again from one place."
        )
    return facts


class WeightsLoader:
    """Handler that loads weights when an engine starts, so that a bundle can be opened without them.

    Args:
        path: the weights, or the folder they are in; None leaves the network as it is.
        network: what to load into.
        of_a_part: weights of a network that is a part of this one will do; the rest stays as it is.
    """

    def __init__(self, path: str | Path | None, network: nn.Module, *, of_a_part: bool = False) -> None:
        self.path, self.network, self.of_a_part = path, network, of_a_part

    def attach(self, engine: Engine) -> None:
        """Attaches to any engine."""
        from ignite.engine import Events

        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Loads the weights."""
        if self.path is None:
            return
        load_weights(self.path, self.network, of_a_part=self.of_a_part)
        logger.info("Weights of %s.", self.path)


def _fill(
    network: nn.Module, state: dict[str, torch.Tensor], path: Path, architecture: str | None, *, of_a_part: bool
) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in state.items()} if isinstance(state, dict) else {}
    if of_a_part and given:
        state = {name: _widened(tensor, expected.get(name)) for name, tensor in state.items()}
        given = {name: tuple(tensor.shape) for name, tensor in state.items()}
        expected = {name: shape for name, shape in expected.items() if name in given}
    if expected != given:
        differing = sum(expected.get(name) != given.get(name) for name in {*expected, *given})
        hint = f"--architecture {architecture}" if architecture else "the --architecture they were trained with"
        raise BreastkitError(
            f"{path} does not fit this network ({differing} of {len(expected)} tensors differ); "
            f"choose {hint}, or other weights."
        )
    network.load_state_dict(state, strict=not of_a_part)


def _widened(tensor: torch.Tensor, shape: tuple[int, ...] | None) -> torch.Tensor:
    """Returns the weights of a convolution with zeros for the channels that it takes more in a network."""
    if tensor.ndim < 4 or shape is None or shape[1] <= tensor.shape[1]:
        return tensor
    widened = tensor.new_zeros(tensor.shape[0], shape[1], *tensor.shape[2:])
    widened[:, : tensor.shape[1]] = tensor
    return widened


def weights_file(path: str | Path) -> Path:
    """Returns the weights file of a path: the file itself, or ``model.pt`` in a folder."""
    path = Path(path)
    return path / FILE_NAME if path.is_dir() else path


def fold_weights_beside(weights: str | Path, *, image_size: int | None = None) -> list[Path]:
    """Returns the weights of folds that ship with the given ones, as ``fold*/model.pt`` beside them.

    Args:
        weights: a file, or the folder it is in.
        image_size: those trained at this size alone: networks of several sizes are no ensemble.
    """
    weights = Path(weights)
    folds = sorted((weights if weights.is_dir() else weights.parent).glob(f"fold*/{FILE_NAME}"))
    return [fold for fold in folds if image_size is None or read_model_json(fold).get("image_size") == image_size]


def sha256_of(path: Path) -> str:
    """Returns the hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
