"""The mean of the weights of several runs from one start: what they were unsure of each in its way, it is surer of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from breastkit.errors import BreastkitError
from breastkit.training.run_folder import refuse_unfinished
from breastkit.weights import load_weights, read_model_json, save_weights

# What every run has its own of; all else has to agree.
_OWN = {"sha256", "run", "seed", "figures", "threshold", "temperature", "operating_point", "abstain_above", "clean_up"}


def average_runs(runs: Sequence[str | Path], folder: str | Path) -> Path:
    """Writes the mean of the weights of finished runs into a folder and returns its path.

    Only runs from the same start lie close enough for their mean to be of use: the same pre-trained encoder and seed,
    another number of epochs or learning rate. Thresholds and rules are not averaged; choose them anew.

    Args:
        runs: their output folders, two or more.
        folder: where to.

    Raises:
        BreastkitError: if a run is not finished, or they differ in more than how long and how fast they learnt.
    """
    folders = [Path(run) for run in runs]
    if len(folders) < 2:
        raise BreastkitError(f"A mean needs two runs or more, and {len(folders)} was given; name more output folders.")
    for run in folders:
        refuse_unfinished(run)
    facts = [read_model_json(run) for run in folders]
    shared = {name: value for name, value in facts[0].items() if name not in _OWN}
    for run, others in zip(folders, facts, strict=True):
        differing = [name for name in {**shared, **others} if name not in _OWN and shared.get(name) != others.get(name)]
        if differing:
            raise BreastkitError(
                f"{run} differs from {folders[0]} in {', '.join(differing)}; average runs of one network, list "
                "and fold."
            )
    states = [load_weights(run) for run in folders]
    mean = {name: _mean([state[name] for state in states]) for name in states[0]}
    names = {"run": Path(folder).name, "averaged": [run.name for run in folders]}
    return save_weights(folder, mean, **shared, **names)


def _mean(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    if not tensors[0].is_floating_point():
        return tensors[0]
    return torch.stack([tensor.double() for tensor in tensors]).mean(0).to(tensors[0].dtype)
