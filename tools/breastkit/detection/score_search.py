"""The score from which a box is believed, chosen on the validation slices and kept with the weights."""

from __future__ import annotations

import numpy as np

from breastkit.detection.average_precision import match_boxes
from breastkit.detection.boxes import pick_boxes
from breastkit.logs import get_logger
from breastkit.training.distributed import is_main
from breastkit.training.validation_search import ValidationSearch
from breastkit.weights import add_facts

_SCORES = tuple(np.round(np.arange(0.05, 0.951, 0.05), 2))
# Whether a lesion is found counts here, not how exactly its box fits.
_OVERLAP = 0.3
logger = get_logger(__name__)


class ScoreSearch(ValidationSearch):
    """Sweeps the score over the validation slices with the best weights and stores the best one with them.

    Best is the highest F1 of boxes that overlap a true one by at least 0.3. Written are ``thresholds.csv``,
    ``thresholds.png``, and ``threshold`` in ``model.json``. It takes what `ValidationSearch` takes.
    """

    def choose(self) -> float:
        """Returns the best score."""
        figures = self._figures()
        best = int(np.argmax([row["f1"] for row in figures]))
        threshold, f1 = figures[best]["threshold"], figures[best]["f1"]
        if is_main():
            self.write_sweep(figures, threshold, title="Score search", of="of validation boxes")
            add_facts(self.folder, threshold=threshold, figures={"val_f1": f1})
            logger.info("Best score %.2f: F1 %.3f.", threshold, f1)
        return threshold

    def _figures(self) -> list[dict[str, float]]:
        scores, hits, truths = [], [], 0
        for output, batch in self.outputs("Score search"):
            for each, padded in zip(output.float().cpu().numpy(), batch["label"].cpu().numpy(), strict=True):
                found = pick_boxes(each, lowest=_SCORES[0])
                truth = padded[(padded[:, 2:] > padded[:, :2]).all(1)]
                scores.append(found[:, 4])
                hits.append(match_boxes(found, truth, (_OVERLAP,))[:, 0])
                truths += len(truth)
        score, hit = np.concatenate(scores), np.concatenate(hits)
        rows = []
        for threshold in _SCORES:
            right, believed = int(hit[score >= threshold].sum()), int((score >= threshold).sum())
            rows.append(
                {
                    "threshold": float(threshold),
                    "f1": 2 * right / max(1, believed + truths),
                    "precision": right / max(1, believed),
                    "recall": right / max(1, truths),
                }
            )
        return rows
