"""What a network answers to a few images, as one picture to look at beside the curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from breastkit.pictures import PREDICTION, TRUTH, grid, outline, to_rgb

_MOST = 6


def sample_pictures(output: Mapping[str, Any]) -> NDArray[np.uint8] | None:
    """Draws the first images of a batch: a mask's outline on the true one's, or the class and its probability.

    Args:
        output: of a validation's iteration: ``image``, ``label``, and ``pred`` as logits.

    Returns:
        One RGB picture, None for answers of another kind, such as boxes.
    """
    image, label, pred = (torch.as_tensor(output[key])[:_MOST].float().cpu() for key in ("image", "label", "pred"))
    if pred.shape[2:] == image.shape[2:] and label.shape == pred.shape:
        drawn = [
            outline(outline(gray, true, TRUTH), found, PREDICTION)
            for gray, true, found in zip(image[:, 0].numpy(), label[:, 0].numpy(), pred[:, 0].numpy() > 0, strict=True)
        ]
        return grid([drawn], column_titles=["truth blue, network yellow"])
    if pred.ndim == 2 and label.ndim == 1:
        shares, classes = pred.softmax(1).max(1)
        titles = [f"{int(c)} at {p:.2f}, truth {int(t)}" for c, p, t in zip(classes, shares, label, strict=True)]
        return grid([[to_rgb(gray) for gray in image[:, 0].numpy()]], column_titles=titles)
    return None
