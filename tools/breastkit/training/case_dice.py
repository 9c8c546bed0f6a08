"""Dice of whole cases from batches of their slices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from ignite.metrics.metric import reinit__is_reduced

from breastkit.training.case_metric import CaseMetric
from breastkit.training.distributed import sum_over_processes


class CaseDice(CaseMetric):
    """Mean over cases of the Dice over all slices of a case, at one threshold or many.

    Counts are added up per case, so the figure does not depend on how slices fall into batches or processes. A case
    whose truth and prediction are both empty counts as 1.

    Args:
        cases: number of cases.
        thresholds: probabilities from which a pixel counts as predicted.
    """

    def __init__(self, cases: int, *, thresholds: Sequence[float] = (0.5,)):
        self.thresholds = torch.tensor(list(thresholds), dtype=torch.float32)
        super().__init__(cases)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forgets all counts."""
        steps = len(self.thresholds)
        # Integers add up exactly in any order.
        self.overlap = torch.zeros(self.cases, steps, dtype=torch.int64)
        self.predicted = torch.zeros(self.cases, steps, dtype=torch.int64)
        self.true = torch.zeros(self.cases, dtype=torch.int64)

    @reinit__is_reduced
    def update(self, output: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
        """Counts a batch.

        Args:
            output: logits and labels (batch, 1, rows, columns), and the index of each slice's case. Further channels
                of logits are no mask's.
        """
        logits, labels, cases = output
        probabilities = torch.sigmoid(logits[:, :1].detach().float()).flatten(1).cpu()
        truth = labels.detach().flatten(1).cpu() > 0.5
        cases = torch.as_tensor(cases, dtype=torch.int64).flatten().cpu()
        predicted, overlap = self._at_or_above(probabilities), self._at_or_above(probabilities, truth)
        self.predicted.index_add_(0, cases, predicted)
        self.overlap.index_add_(0, cases, overlap)
        self.true.index_add_(0, cases, truth.sum(1))

    def _at_or_above(self, probabilities: torch.Tensor, where: torch.Tensor | None = None) -> torch.Tensor:
        """Counts pixels of each slice at or above each threshold in one pass over the pixels."""
        rows, steps = len(probabilities), len(self.thresholds)
        reached = torch.bucketize(probabilities, self.thresholds, right=True)
        if where is not None:
            reached = reached * where
        reached = reached + torch.arange(rows)[:, None] * (steps + 1)
        counts = torch.bincount(reached.flatten(), minlength=rows * (steps + 1)).view(rows, steps + 1)
        return counts.flip(1).cumsum(1).flip(1)[:, 1:]

    def per_case(self) -> torch.Tensor:
        """Returns the Dice of every case (rows) at every threshold (columns), of all processes together."""
        overlap, predicted, true = (
            sum_over_processes(counts.clone()).double() for counts in (self.overlap, self.predicted, self.true[:, None])
        )
        total = predicted + true
        return torch.where(total > 0, 2 * overlap / total.clamp(min=1), 1.0)

    def compute(self) -> float | torch.Tensor:
        """Returns the mean over cases: a number for one threshold, else one for each."""
        means = self.per_case().mean(0)
        return float(means[0]) if len(means) == 1 else means
