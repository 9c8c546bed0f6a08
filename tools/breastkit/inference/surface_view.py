"""A mask in three dimensions: its surface, seen from three sides, with what lies in it shining through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray
from scipy import ndimage

from breastkit.pictures import LESION, grid, overlay

# Surfaces are drawn in steps of so many millimetres, and smoothed by this share of a voxel: slices are no terraces.
_STEP = 1.5
_SMOOTHING = 0.9
_SKIN, _DARK = np.array((226, 208, 196)), 24
# Towards the light, in (right, down, the eye) of a picture: it comes from the upper left.
_LIGHT = np.array((-0.45, -0.55, 0.7)) / np.linalg.norm((-0.45, -0.55, 0.7))
_TITLES = ("from the front", "from the left", "from the feet")


def surface_picture(mask: NDArray[Any], affine: NDArray[Any], inside: NDArray[Any], *, tile: int = 320) -> NDArray[Any]:
    """Returns a mask's surface from the front, the patient's left and the feet, the head up or the front up.

    Seen from the front and from the feet the patient's right is on the left, as in axial pictures.

    Args:
        mask: (i, j, k).
        affine: voxel to RAS+ millimetres.
        inside: what shines through, on the same grid; may be empty.
        tile: edge of each of the three pictures in pixels.
    """
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(("L", "P", "S")))
    spacing = np.linalg.norm(np.asarray(affine)[:3, :3], axis=0)[np.argsort(turn[:, 0])]
    body, within = (apply_orientation(np.asarray(volume) > 0, turn) for volume in (mask, inside))
    if not body.any():
        return grid([[np.full((tile, tile), _DARK, np.uint8)] * 3], tile=tile, column_titles=_TITLES)
    box, scale = ndimage.find_objects(body.astype(np.uint8))[0], spacing / _STEP
    body, within = (ndimage.zoom(np.pad(each[box], 2).astype(np.float32), scale, order=1) for each in (body, within))
    body = ndimage.gaussian_filter(body, _SMOOTHING * scale)
    # To (column, row, depth) of each picture, the eye at depth 0.
    seen: Sequence[Callable[[NDArray[Any]], NDArray[Any]]] = (
        lambda volume: volume.transpose(0, 2, 1)[:, ::-1],
        lambda volume: volume.transpose(1, 2, 0)[:, ::-1, ::-1],
        lambda volume: volume,
    )
    return grid([[_shaded(turned(body), turned(within)) for turned in seen]], tile=tile, column_titles=_TITLES)


def _shaded(body: NDArray[Any], within: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns the picture of a volume (column, row, depth)."""
    solid = body > 0.5
    hit = solid.any(axis=2)
    if not hit.any():
        # Specks that smoothing has taken away.
        return np.full((*hit.T.shape, 3), _DARK, np.uint8)
    first = solid.argmax(axis=2)
    before, behind = (np.take_along_axis(body, np.maximum(first - k, 0)[..., None], 2)[..., 0] for k in (1, 0))
    # Between the last voxel outside and the first one inside: depth in whole voxels would show as steps.
    depth = first - np.clip((behind - 0.5) / np.maximum(behind - before, 1e-6), 0, 1)
    # Beside the surface it goes on falling, so that its edge is no cliff.
    depth = np.where(hit, depth, ndimage.distance_transform_edt(~hit) + depth[hit].max())
    right, down = np.gradient(depth)
    normal = np.stack([right, down, np.ones_like(depth)]) / np.sqrt(right**2 + down**2 + 1)
    light = 0.25 + 0.75 * np.clip(np.tensordot(_LIGHT, normal, 1), 0, 1)
    picture = np.where(hit[..., None], light[..., None] * _SKIN, _DARK).astype(np.uint8).transpose(1, 0, 2)
    return overlay(picture, (within > 0.5).any(axis=2).T, LESION, opacity=0.55)
