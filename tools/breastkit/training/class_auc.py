"""How well the classes of whole validation sets are told apart."""

from __future__ import annotations

import torch
from ignite.metrics.metric import reinit__is_reduced

from breastkit.metrics.classification import auc
from breastkit.training.case_metric import CaseMetric
from breastkit.training.distributed import sum_over_processes


class ClassAUC(CaseMetric):
    """Area under the ROC curve over all pictures, whichever process looked at them; see `breastkit.metrics.auc`.

    Args:
        cases: number of pictures.
        classes: number of classes.
    """

    def __init__(self, cases: int, classes: int) -> None:
        self.classes = classes
        super().__init__(cases)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forgets all pictures."""
        self.probabilities = torch.zeros(self.cases, self.classes, dtype=torch.float64)
        self.labels = torch.zeros(self.cases, dtype=torch.int64)

    @reinit__is_reduced
    def update(self, output: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
        """Takes in a batch.

        Args:
            output: logits (batch, classes), indices of the true classes, and of the pictures.
        """
        logits, labels, cases = output
        cases = torch.as_tensor(cases, dtype=torch.int64).flatten().cpu()
        self.probabilities[cases] = torch.softmax(logits.detach().double(), 1).cpu()
        self.labels[cases] = torch.as_tensor(labels, dtype=torch.int64).flatten().cpu()

    def compute(self) -> float:
        """Returns the area; NaN where there is one class alone."""
        probabilities, labels = (sum_over_processes(one.clone()) for one in (self.probabilities, self.labels))
        return auc(probabilities.numpy(), labels.numpy())
