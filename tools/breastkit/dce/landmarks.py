"""Landmarks that a breast keeps however a patient lies: the chest wall as one smooth surface, and the nipples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from breastkit.dce.voxel_box import Grid
from breastkit.dicom.derived_objects import Side

# Powers of what runs up and across that a surface is made of: a rib cage is hardly more bent.
_POWERS = [(up, across) for up in range(4) for across in range(4 - up)]
# So many places of a mask's back edge at most are fitted.
_PLACES = 8000
# Behind a breast there is chest wall where the breast is at least so thick; at its sides the edge is skin.
_THICK = 0.35
_ROUNDS = 12
# What lies farther from the surface than so many times the usual distance does not count (Tukey's biweight).
_FAR, _LEAST_MM = 4.685, 1.0
# The nipple is the middle of what lies nearly as far from the chest wall as the farthest place does.
_TIP_MM = 4.0
# What lies so near to the axis of the nipple is in no quadrant.
_CENTRAL_MM = 10.0


@dataclass(frozen=True)
class ChestWall:
    """A smooth surface behind both breasts, in millimetres along slices, rows and columns of the axial view.

    It is described in a frame that leans as the surface does, so that a patient who turned has the same one.

    Attributes:
        frame: its rows point along the surface upwards, away from it to the back, and along it to the left.
        middle: of what was fitted.
        reach: half of its extent along the surface, upwards and to the left.
        factors: of the powers, for how far back the surface lies.
        surface: places of it behind the breasts, in its frame; beyond them a polynomial runs anywhere.
    """

    frame: NDArray[np.float64]
    middle: NDArray[np.float64]
    reach: NDArray[np.float64]
    factors: NDArray[np.float64]
    surface: NDArray[np.float64]

    @classmethod
    def behind(cls, breast: NDArray[Any], spacing: Sequence[float]) -> ChestWall | None:
        """Fits the back edge of the breasts, robustly; None where there are too few places to fit.

        Args:
            breast: mask [slice, row, column] of the axial view, whose rows run to the back.
            spacing: of slices, rows and columns in millimetres.
        """
        edge = _back_edge(np.asarray(breast) > 0, spacing)
        if len(edge) < 3 * len(_POWERS):
            return None
        middle = edge.mean(axis=0)
        up, left = _robust(np.column_stack([np.ones(len(edge)), (edge - middle)[:, [0, 2]]]), edge[:, 1])[1:]
        back = np.array([-up, 1.0, -left])
        frame, _ = np.linalg.qr(np.column_stack([back, [1.0, 0, 0], [0, 0, 1.0]]))
        frame = (frame * np.sign(frame[[1, 0, 2], [0, 1, 2]])).T[[1, 0, 2]]
        own = (edge - middle) @ frame.T
        reach = np.maximum(np.abs(own[:, [0, 2]]).max(axis=0), 1.0)
        terms = _terms(own[:, [0, 2]] / reach)
        factors = _robust(terms, own[:, 1])
        own[:, 1] = terms @ factors
        return cls(frame, middle, reach, factors, own)

    def in_front(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Returns how far in front of the surface points (slices, rows, columns) lie, negative behind it."""
        return self._ahead((points - self.middle) @ self.frame.T)

    def distance(self, points: NDArray[Any]) -> float:
        """Returns the shortest distance from points to the surface, 0 where one lies on it or behind it."""
        own = (points - self.middle) @ self.frame.T
        straight = float(self._ahead(own).min())
        if straight <= 0:
            return 0.0
        found, _ = scipy.spatial.cKDTree(own).query(self.surface)
        return float(min(straight, found.min()))

    def _ahead(self, own: NDArray[Any]) -> NDArray[np.float64]:
        ahead: NDArray[np.float64] = _terms(own[:, [0, 2]] / self.reach) @ self.factors - own[:, 1]
        return ahead


def _back_edge(inside: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.float64]:
    """Returns places where breasts end towards the back, in millimetres along slices, rows and columns."""
    thick = inside.sum(axis=1) * spacing[1]
    there = np.argwhere(thick > max(_THICK * float(thick.max(initial=0)), 1e-6))
    there = there[:: max(1, len(there) // _PLACES)]
    last = inside.shape[1] - np.argmax(inside[:, ::-1], axis=1)[tuple(there.T)]
    # The edge of the last voxel, not its middle.
    edge: NDArray[np.float64] = np.column_stack([there[:, 0], last - 0.5, there[:, 1]]) * np.asarray(spacing)
    return edge


def _robust(terms: NDArray[Any], values: NDArray[Any]) -> NDArray[np.float64]:
    """Returns the factors of terms that fit most values (Tukey's biweight)."""
    weights, factors = np.ones(len(values)), np.zeros(terms.shape[1])
    for _ in range(_ROUNDS):
        root = np.sqrt(weights)
        factors = np.linalg.lstsq(terms * root[:, None], values * root, rcond=None)[0]
        off = np.abs(values - terms @ factors)
        usual = max(1.4826 * float(np.median(off)), _LEAST_MM)
        weights = np.square(np.clip(1 - np.square(off / (_FAR * usual)), 0, None))
    return factors


def _terms(places: NDArray[Any]) -> NDArray[np.float64]:
    """Returns the powers of places from -1 to 1 along two axes."""
    up, across = np.asarray(places, dtype=np.float64).T
    return np.stack([up**a * across**b for a, b in _POWERS], axis=1)


def nipples(
    breasts: Mapping[Side | None, NDArray[Any]], wall: ChestWall | None, spacing: Sequence[float]
) -> dict[Side, NDArray[np.float64]]:
    """Returns where the nipple of each breast lies: the middle of what is farthest from the chest wall.

    Args:
        breasts: masks of the axial view by side; one without a side has none.
        wall: behind them.
        spacing: of slices, rows and columns in millimetres.

    Returns:
        Points along slices, rows and columns in millimetres.
    """
    found: dict[Side, NDArray[np.float64]] = {}
    for side, mask in breasts.items():
        front = _front_of(mask) if side is not None and wall is not None else np.empty((0, 3), int)
        if side is None or wall is None or not len(front):
            continue
        points = front * np.asarray(spacing)
        ahead = wall.in_front(points)
        tip = points[ahead >= ahead.max() - _TIP_MM]
        # Of several such places the largest group of neighbours would be wanted; the median is near it and steady.
        found[side] = np.median(tip, axis=0)
    return found


def _front_of(mask: NDArray[Any]) -> NDArray[np.int64]:
    """Returns the first voxel of each column of rows."""
    inside = np.asarray(mask) > 0
    where = np.argwhere(inside.any(axis=1))
    first = np.argmax(inside, axis=1)[tuple(where.T)]
    return np.stack([where[:, 0], first, where[:, 1]], axis=1)


def quadrant_and_clock(middle: NDArray[Any], nipple: NDArray[Any], side: Side, grid: Grid) -> tuple[str, int | None]:
    """Returns the quadrant of a breast that a place lies in and its hour, as if one looked at the patient.

    Args:
        middle: of a lesion, in millimetres along slices, rows and columns of the axial view.
        nipple: of its breast, likewise.
        side: of the breast.
        grid: the axial view, which knows where right and head are.

    Returns:
        ``upper outer`` and so on, and the hour from 1 to 12; ``central`` without an hour next to the nipple's axis.
    """
    steps = np.asarray(middle) - np.asarray(nipple)
    axes = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    right, _, up = axes @ steps
    if np.hypot(right, up) < _CENTRAL_MM:
        return "central", None
    outer = (right > 0) == (side is Side.RIGHT)
    # Seen from the front her right is on the left, where a clock has the hours from 7 to 11.
    hour = round(float(np.degrees(np.arctan2(-right, up))) / 30) % 12 or 12
    return f"{'upper' if up >= 0 else 'lower'} {'outer' if outer else 'inner'}", hour
