"""After training: the probability threshold that outlines the validation cases best."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from monai.inferers import Inferer
from torch import nn
from torch.utils.data import DataLoader

from breastkit.atomic import atomic_path
from breastkit.logs import get_logger
from breastkit.training.case_dice import CaseDice
from breastkit.training.curves import write_table
from breastkit.training.distributed import is_main, wait_for_all
from breastkit.training.validation_search import ValidationSearch
from breastkit.weights import add_facts

TABLE, PICTURE = "thresholds.csv", "thresholds.png"
logger = get_logger(__name__)


class ThresholdSearch(ValidationSearch):
    """Sweeps the threshold over the validation cases with the best weights and stores the best one with them.

    The threshold is the one with the highest mean Dice over cases, in the middle where several are as good. Written
    are ``thresholds.csv``, ``thresholds.png``, and ``threshold`` in ``model.json``.

    Args:
        folder: the run's output folder, with the best weights.
        network: the network itself; it gets these weights.
        dataloader: validation slices.
        inferer: how the network is run on a batch.
        cases: number of validation cases.
        device: where to compute.
        low: first threshold.
        high: last threshold.
        step: distance of thresholds.
    """

    def __init__(
        self,
        folder: str | Path,
        network: nn.Module,
        dataloader: DataLoader,
        inferer: Inferer,
        *,
        cases: int,
        device: torch.device,
        low: float = 0.05,
        high: float = 0.95,
        step: float = 0.05,
    ):
        super().__init__(folder, network, dataloader, inferer, device=device)
        self.cases = cases
        self.thresholds = np.round(np.arange(low, high + step / 2, step), 6).tolist()

    def run(self) -> float:
        """Searches, writes, and returns the best threshold."""
        # The main process may still be writing the last epoch's weights.
        wait_for_all()
        dice = self._mean_dice()
        best = best_threshold(self.thresholds, dice)
        if is_main():
            self._write(dice, best)
        return best

    @torch.inference_mode()
    def _mean_dice(self) -> list[float]:
        metric = CaseDice(self.cases, thresholds=self.thresholds)
        for logits, batch in self.outputs("Threshold search"):
            metric.update((logits, batch["label"], batch["case"]))
        return metric.per_case().mean(0).tolist()

    def _write(self, dice: list[float], best: float) -> None:
        rows = [{"threshold": t, "dice": d} for t, d in zip(self.thresholds, dice, strict=True)]
        write_table(self.folder / TABLE, rows)
        reached = dice[self.thresholds.index(best)]
        draw(self.folder / PICTURE, self.thresholds, dice, best)
        add_facts(self.folder, threshold=best, figures={"val_dice_at_threshold": reached})
        logger.info("Best threshold %.2f: mean validation Dice %.4f.", best, reached)


def best_threshold(thresholds: list[float], dice: list[float]) -> float:
    """Returns the threshold with the highest Dice, the middle one of equals."""
    ties = np.flatnonzero(np.isclose(dice, max(dice), rtol=0, atol=1e-9))
    return thresholds[ties[(len(ties) - 1) // 2]]


def draw(path: Path, thresholds: list[float], dice: list[float], best: float) -> None:
    """Draws mean Dice over the threshold and marks the best."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(thresholds, dice, marker=".")
    axes.axvline(best, color="tab:orange", linestyle="--", label=f"best: {best:.2f}")
    axes.set(title="Threshold search", xlabel="threshold", ylabel="mean validation Dice of cases")
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
