"""Putting a finished run's weights where a bundle ships them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from breastkit.errors import BreastkitError
from breastkit.training.clean_up_search import TABLE as CLEAN_UPS
from breastkit.training.clean_up_search import best_clean_up
from breastkit.training.decision_search import OPINIONS, rule_over
from breastkit.training.run_folder import refuse_unfinished
from breastkit.training.threshold_search import best_threshold
from breastkit.training.validation_search import THRESHOLDS
from breastkit.weights import load_weights, read_model_json, save_weights


def ship_weights(
    run: str | Path, bundle: str | Path, *, name: str | None = None, folds: Sequence[str | Path] = ()
) -> Path:
    """Copies the weights of a finished run into a bundle's ``models`` folder, at half precision.

    Half precision halves the files and changes probabilities by less than a thousandth; networks compute in single
    precision as before. Training itself never touches ``models``.

    Args:
        run: the output folder of the run.
        bundle: the folder of the bundle.
        name: the sub-folder for weights that are not the default: an architecture, or a fold.
        folds: the runs of a cross-validation, where these weights are trained on all images: threshold and clean-up
            are then those with the highest mean Dice over what the folds had not seen, and a classifier's rule is
            chosen on that.

    Returns:
        The path of the weights.

    Raises:
        BreastkitError: if the run is not finished.
    """
    refuse_unfinished(run)
    facts = read_model_json(run)
    facts.pop("sha256")
    if folds:
        facts |= _chosen_over(folds)
    weights = {key: _half(tensor) for key, tensor in load_weights(run).items()}
    folder = Path(bundle) / "models"
    return save_weights(folder / name if name else folder, weights, **facts)


def _chosen_over(folds: Sequence[str | Path]) -> dict[str, Any]:
    figures: dict[str, Any] = {"folds": [Path(fold).name for fold in folds]}
    facts: dict[str, Any] = {"fold": None, "unseen": [], "figures": figures}
    if (Path(folds[0]) / OPINIONS).is_file():
        return facts | rule_over(folds)
    thresholds, by_threshold = _mean_dice([Path(fold) / THRESHOLDS for fold in folds])
    clean_ups, by_clean_up = _mean_dice([Path(fold) / CLEAN_UPS for fold in folds])
    threshold = best_threshold([float(row["threshold"]) for row in thresholds], by_threshold.tolist())
    clean_up = clean_ups[best_clean_up(by_clean_up)]
    figures["folds_dice_cleaned"] = float(by_clean_up.max())
    chosen = {"largest_only": clean_up["largest_only"] == "True", "minimum_share": float(clean_up["minimum_share"])}
    return {**facts, "threshold": threshold, "clean_up": chosen}


def _mean_dice(tables: Sequence[Path]) -> tuple[list[dict[str, str]], NDArray[Any]]:
    """Returns the choices that the tables list, in the same order each, and their mean Dice over the tables."""
    rows = []
    for table in tables:
        if not table.is_file():
            raise BreastkitError(f"{table} does not exist; finish the run of this fold first.")
        rows.append(list(csv.DictReader(table.open(encoding="utf-8"))))
    return rows[0], np.array([[float(row["dice"]) for row in one] for one in rows]).mean(axis=0)


def _half(tensor: torch.Tensor) -> torch.Tensor:
    # Norms and biases take no room, and variances may leave the range of half precision.
    return tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor
