"""After the threshold search: which tidying of the masks helps the validation pictures most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from breastkit.logs import get_logger
from breastkit.metrics import dice
from breastkit.tables import write_table
from breastkit.training.distributed import is_main
from breastkit.training.validation_search import ValidationSearch
from breastkit.transforms import clean_mask
from breastkit.weights import add_facts, read_model_json

TABLE = "clean_up.csv"
logger = get_logger(__name__)


class CleanUp(TypedDict):
    """What `breastkit.transforms.CleanMaskd` takes."""

    largest_only: bool
    minimum_share: float


@dataclass(eq=False)
class CleanUpSearch(ValidationSearch):
    """Tries clean-ups of the masks on validation pictures and stores the best one with the weights.

    Tried are all pieces or only the largest, each with several smallest sizes of a piece, at the threshold stored in
    ``model.json``. The best has the highest mean Dice over pictures, where one without lesion counts as 1 if nothing
    is left and as 0 otherwise; of equals it is the one that does least. Written are ``clean_up.csv``, and ``clean_up``
    in ``model.json``, which `breastkit.transforms.CleanMaskd` takes.

    Args:
        folder: the run's output folder, with the best weights and their threshold.
        evaluator: the run's engine that validates; its network gets these weights.
        dataloader: validation pictures with and without lesion; every process sees all of them, one does the work.
        shares: smallest sizes of a piece, as shares of the picture's longest side squared.
    """

    shares: Sequence[float] = (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008)

    def __post_init__(self) -> None:
        super().__post_init__()
        shares = sorted(map(float, self.shares))
        self.choices = [
            CleanUp(largest_only=largest, minimum_share=share) for largest, share in product((False, True), shares)
        ]

    def choose(self) -> CleanUp | None:
        """Returns the best clean-up in the main process, None in the others."""
        if not is_main():
            return None
        reached = self._dice_of_choices(read_model_json(self.folder)["threshold"]).mean(0)
        best = best_clean_up(reached)
        rows = [{**choice, "dice": float(value)} for choice, value in zip(self.choices, reached, strict=True)]
        write_table(self.folder / TABLE, rows)
        figures = {"val_dice_all_images": float(reached[0]), "val_dice_all_images_cleaned": float(reached[best])}
        add_facts(self.folder, figures=figures, clean_up=self.choices[best])
        logger.info("Best clean-up %s: mean Dice %.4f, %.4f without.", self.choices[best], reached[best], reached[0])
        return self.choices[best]

    def _dice_of_choices(self, threshold: float) -> NDArray[Any]:
        """Returns the Dice of every picture (rows) with every choice (columns)."""
        found = []
        for logits, batch in self.outputs("Clean-up search"):
            masks = (torch.sigmoid(logits.float()) >= threshold)[:, 0].cpu().numpy()
            for mask, truth in zip(masks, batch["label"][:, 0].numpy() > 0.5, strict=True):
                found.append([dice(clean_mask(mask, **choice), truth) for choice in self.choices])
        return np.array(found)


def best_clean_up(dice: NDArray[Any]) -> int:
    """Returns which of the choices has the highest Dice, the first of equals: it does least."""
    return int(np.flatnonzero(dice >= dice.max() - 1e-9)[0])
