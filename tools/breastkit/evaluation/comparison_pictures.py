"""What compared runs made of the same images, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from breastkit.images import write_png
from breastkit.logs import get_logger
from breastkit.pictures import grid, tiles

_ROWS = 8
_TILE = 240
logger = get_logger(__name__)


def draw_comparison(methods: Mapping[str, Sequence[Path]], path: Path) -> Path | None:
    """Draws image, truth and the outline of every method in a row, for images from the worst to the best.

    The images are spread evenly over the mean Dice of the methods, lesion images alone. Everything is taken from the
    evaluations themselves, so that runs made elsewhere can be compared without their data.

    Args:
        methods: output folders of evaluated runs by the name of their method; its folds are several.
        path: the PNG to write.

    Returns:
        The path, or None where the runs were not evaluated on pictures or have no picture in common.
    """
    found = [_evaluated(folders) for folders in methods.values()]
    shared = sorted(set.intersection(*(set(images) for images in found)))
    if not shared:
        return None
    reached = np.array([np.mean([images[name][0] for images in found]) for name in shared])
    order = np.argsort(reached, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(_ROWS, len(order))).round().astype(int))]
    try:
        rows = [_row([images[shared[index]][1] for images in found]) for index in chosen]
    except ValueError as error:
        logger.warning("No pictures side by side: %s; evaluate the runs again.", error)
        return None
    titles = [f"{shared[index]}, mean Dice {reached[index]:.2f}" for index in chosen]
    picture = grid(rows, tile=_TILE, row_titles=titles, column_titles=["image", "truth", *methods])
    return write_png(path, picture)


def _evaluated(folders: Sequence[Path]) -> dict[str, tuple[float, Path]]:
    """Returns Dice and picture of every lesion image that was drawn, by its name."""
    from breastkit.evaluation.picture_evaluation import PictureEvaluation

    images: dict[str, tuple[float, Path]] = {}
    for folder in folders:
        evaluation = PictureEvaluation(folder / "evaluation")
        table = pd.read_csv(folder / "evaluation" / "metrics.csv")
        if not {"image", "dice"} <= set(table):
            continue
        # Of pictures, those with a lesion; patients, who have no such column, all have one.
        for row in (table[table["lesion"]] if "lesion" in table else table).itertuples():
            picture = evaluation.picture_of(str(row.image))
            if picture.is_file():
                images.setdefault(str(row.image), (float(row.dice), picture))
    return images


def _row(pictures: Sequence[Path]) -> list[NDArray[Any]]:
    parts = [_tiles(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)) for path in pictures]
    image, truth, *_ = parts[0]
    return [image, truth, *(part[-1] for part in parts)]


def _tiles(picture: NDArray[Any]) -> list[NDArray[Any]]:
    """Returns image, truth and what an evaluation drew besides, both outlines on one picture last."""
    columns = max(3, round(picture.shape[1] / picture.shape[0]))
    return tiles(picture, columns=columns, titled=True)
