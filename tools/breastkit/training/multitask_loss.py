"""One loss over an outline and what is said of the whole picture, each task weighted by how uncertain it is."""

from __future__ import annotations

from enum import IntEnum

import ignite.distributed as idist
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from breastkit.training.distributed import sum_over_processes

# An adaptive optimiser moves a parameter by about the learning rate a step: at that of the network, a log-variance
# would hardly have moved when the training ends.
_SPEED = 10.0


class LesionLabel(IntEnum):
    """What a pixel of a mask says that knows the class of its lesion; 0 is no lesion."""

    UNKNOWN = 1
    BENIGN = 2
    MALIGNANT = 3


class MultiTaskLoss(nn.Module):
    """The sum of an outline's loss and of two cross-entropies, weighted by learnt uncertainties.

    Of every task there is a log-variance s, and its loss counts as exp(-s) of itself, with s/2 added: a task that stays
    uncertain counts less (Kendall and others, CVPR 2018). Give them to the optimiser with the network's parameters.

    Whether there is a lesion is taken from the mask as the network gets it: one that augmentation has cropped away is
    not there. Of a lesion whose class is unknown, and of a picture without one, nothing is asked about malignancy.

    Args:
        outline: the loss of logits and masks of the outline.
    """

    tasks = ("outline", "lesion", "malignant")

    def __init__(self, outline: nn.Module) -> None:
        super().__init__()
        self.outline = outline
        self.slow_log_variance = nn.Parameter(torch.zeros(len(self.tasks)))
        self.slow_log_variance.register_hook(_mean_over_processes)

    @property
    def log_variance(self) -> torch.Tensor:
        """How uncertain every task is."""
        return _SPEED * self.slow_log_variance

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Returns the loss of a batch.

        Args:
            logits: ``(batch, 3, rows, columns)``: of the outline, and in every pixel those of a lesion being there and
                of its being malignant, see `breastkit.networks.MultiTask`.
            label: masks ``(batch, 1, rows, columns)`` of `LesionLabel`.
        """
        lesion, malignant = logits[:, 1, 0, 0], logits[:, 2, 0, 0]
        highest = label.amax((1, 2, 3))
        known = highest > LesionLabel.UNKNOWN
        there = known.any().to(logits)
        losses = torch.stack(
            [
                self.outline(logits[:, :1], (label > 0).to(logits)),
                binary_cross_entropy_with_logits(lesion, (highest > 0).to(logits)),
                # The sum over those that are known, so that a batch of none is zero and not undefined.
                binary_cross_entropy_with_logits(
                    malignant, (highest == LesionLabel.MALIGNANT).to(logits), known.to(logits), reduction="sum"
                )
                / known.sum().clamp(min=1),
            ]
        )
        asked = torch.stack([torch.ones_like(there), torch.ones_like(there), there])
        return (asked * (torch.exp(-self.log_variance) * losses + self.log_variance / 2)).sum()


def _mean_over_processes(gradient: torch.Tensor) -> torch.Tensor:
    processes = idist.get_world_size()
    return sum_over_processes(gradient.clone()) / processes if processes > 1 else gradient
