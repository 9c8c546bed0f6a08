"""How unsure a model is of an outline."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Pixels that are surely outside say nothing; without this share a large picture would look surer than a small one.
_IN_QUESTION = 0.05


def uncertainty_of(probability: NDArray[Any]) -> float:
    """Returns how unsure an outline is: 0 where every pixel in question is sure, 1 where every one is undecided.

    Args:
        probability: of every pixel to belong to the lesion, the mean of all networks asked.
    """
    asked = probability[probability > _IN_QUESTION]
    return float(np.mean(4 * asked * (1 - asked))) if asked.size else 0.0
