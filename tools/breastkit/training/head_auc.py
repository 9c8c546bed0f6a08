"""How well a head of a multi-task network tells whole pictures apart."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced

from breastkit.metrics.classification import auc
from breastkit.training.case_metric import CaseMetric
from breastkit.training.distributed import sum_over_processes
from breastkit.training.multitask_loss import LesionLabel, MultiTaskLoss


class HeadAUC(CaseMetric):
    """Area under the ROC curve of one head over all pictures of which its answer is known.

    Args:
        cases: number of pictures.
        head: ``lesion`` or ``malignant``, see `MultiTaskLoss`.
    """

    def __init__(self, cases: int, head: str) -> None:
        self.channel = MultiTaskLoss.tasks.index(head)
        self.asked = LesionLabel.UNKNOWN if head == "malignant" else -1
        self.yes = LesionLabel.MALIGNANT if head == "malignant" else LesionLabel.UNKNOWN
        super().__init__(cases)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forgets all pictures."""
        self.logits = torch.zeros(self.cases, dtype=torch.float64)
        # One more than the label, so that 0 is a picture that no process has seen.
        self.labels = torch.zeros(self.cases, dtype=torch.int64)

    @reinit__is_reduced
    def update(self, output: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
        """Takes in a batch.

        Args:
            output: logits and labels as for `MultiTaskLoss`, and the indices of the pictures.
        """
        logits, labels, cases = output
        cases = torch.as_tensor(cases, dtype=torch.int64).flatten().cpu()
        self.logits[cases] = logits[:, self.channel, 0, 0].detach().double().cpu()
        self.labels[cases] = labels.amax((1, 2, 3)).long().cpu() + 1

    def compute(self) -> float:
        """Returns the area; NaN where all pictures have one answer."""
        logits, labels = (sum_over_processes(one.clone()) for one in (self.logits, self.labels))
        asked = labels - 1 > self.asked
        probability = torch.sigmoid(logits[asked])
        yes = (labels[asked] - 1 >= self.yes).long()
        return auc(torch.stack([1 - probability, probability], 1).numpy(), yes.numpy())


def head_metrics(cases: int, *, dice: Metric) -> dict[str, Metric]:
    """Returns the figures of the heads, and as ``val_score`` the mean of the Dice and of the AUC of malignant.

    Args:
        cases: number of pictures.
        dice: the figure of the outlines, of the same engine.
    """
    heads: Mapping[str, Metric] = {f"val_auc_{head}": HeadAUC(cases, head) for head in MultiTaskLoss.tasks[1:]}
    return {**heads, "val_score": (dice + heads["val_auc_malignant"]) / 2}
