"""Near-duplicates among 2D images: the same frame exported twice, or two frames of one sweep.

Public image sets without patient ids hold many of them, and a random split puts them on both sides. Two images count as
near-duplicates when their 48 x 48 grayscale thumbnails correlate by at least 0.98; groups are transitive. Frames of one
sweep, or the same frame with other callipers on it, often reach only 0.9 to 0.98, so that cases are made from 0.9 on:
the pairs of BUSI looked at above it all show one lesion, those below hardly ever.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

THUMBNAIL_SIZE = 48
THRESHOLD = 0.98
RESEMBLANCE = 0.9
# Rows of the correlation matrix held at a time: 512 x 100 000 float32 values are 200 MB.
_ROWS = 512


def thumbnail(gray: NDArray[Any]) -> NDArray[Any]:
    """Returns the 48 x 48 float32 thumbnail of a grayscale image, each value the mean of the area it stands for."""
    size = (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    return cv2.resize(np.asarray(gray, dtype=np.float32), size, interpolation=cv2.INTER_AREA)


def near_duplicate_pairs(
    thumbnails: Sequence[NDArray[Any]] | NDArray[Any], threshold: float = THRESHOLD
) -> list[tuple[int, int, float]]:
    """Finds every pair of thumbnails that correlate.

    Args:
        thumbnails: arrays of one shape; a constant one correlates with none.
        threshold: the least correlation of a pair.

    Returns:
        ``(i, j, r)`` with ``i < j``, ordered by i, then j.
    """
    if len(thumbnails) < 2:
        return []
    rows = np.stack([np.asarray(image, dtype=np.float32).ravel() for image in thumbnails])
    rows -= rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    # A gray level of difference somewhere gives a norm of about 1; below that is rounding.
    rows = np.where(norms > 1e-3, rows / np.maximum(norms, 1e-3), 0)
    pairs: list[tuple[int, int, float]] = []
    for start in range(0, len(rows), _ROWS):
        # Only columns from `start` on are needed: the rest was seen from the other side.
        correlation = rows[start : start + _ROWS] @ rows[start:].T
        # A hair of slack: float32 sums may put a pair that is exactly on the threshold just below it.
        found_i, found_j = np.nonzero(np.triu(correlation >= threshold - 1e-6, k=1))
        values = correlation[found_i, found_j].tolist()
        pairs += zip((found_i + start).tolist(), (found_j + start).tolist(), values, strict=True)
    return pairs


def duplicate_groups(pairs: Sequence[tuple[int, int] | tuple[int, int, float]], count: int) -> list[int]:
    """Groups images that are linked by a chain of pairs.

    Args:
        pairs: what `near_duplicate_pairs` found, or any tuples that begin with two positions.
        count: the number of images.

    Returns:
        One group number per image, numbered in the order of their first images.
    """
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs), dtype=bool), (first, second)), shape=(count, count))
    _, labels = connected_components(links, directed=False)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(label, len(numbers)) for label in labels.tolist()]


def identical_images(images: Sequence[NDArray[Any] | str]) -> list[list[int]]:
    """Finds images that agree in every pixel.

    Args:
        images: arrays, or what `pixel_hash` gave for them.

    Returns:
        Lists of the positions of two or more identical images.
    """
    positions = defaultdict(list)
    for position, image in enumerate(images):
        positions[image if isinstance(image, str) else pixel_hash(image)].append(position)
    return [group for group in positions.values() if len(group) > 1]


def pixel_hash(image: NDArray[Any]) -> str:
    """Returns a text that two images share only when they agree in shape and in every pixel."""
    image = np.ascontiguousarray(image)
    return f"{image.dtype.str}{image.shape}{hashlib.sha256(image.tobytes()).hexdigest()}"
