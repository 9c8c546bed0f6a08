"""Putting a finished run's weights where a bundle ships them."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from breastkit.errors import BreastkitError
from breastkit.training.run_folder import FILE_NAME as RUN_FILE
from breastkit.training.weights import load_weights, read_model_json, save_weights


def ship_weights(run: str | Path, bundle: str | Path, *, name: str | None = None) -> Path:
    """Copies the weights of a finished run into a bundle's ``models`` folder, at half precision.

    Half precision halves the files and changes probabilities by less than a thousandth; networks compute in single
    precision as before. Training itself never touches ``models``.

    Args:
        run: the output folder of the run.
        bundle: the folder of the bundle.
        name: the sub-folder for weights that are not the default: an architecture, or a fold.

    Returns:
        The path of the weights.

    Raises:
        BreastkitError: if the run is not finished.
    """
    run = Path(run)
    state = run / RUN_FILE
    if not state.is_file() or json.loads(state.read_text(encoding="utf-8")).get("state") != "finished":
        raise BreastkitError(f"{run} holds no finished run; finish it with its train command first.")
    facts = read_model_json(run)
    facts.pop("sha256")
    weights = {key: _half(tensor) for key, tensor in load_weights(run).items()}
    folder = Path(bundle) / "models"
    return save_weights(folder / name if name else folder, weights, **facts)


def _half(tensor: torch.Tensor) -> torch.Tensor:
    # Norms and biases take no room, and variances may leave the range of half precision.
    return tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor
