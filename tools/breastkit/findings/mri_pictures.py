"""Pictures of an MRI study with what was found in it: slices through a lesion, and projections of the subtraction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from breastkit.findings.study_findings import MriFindings, StudyLesion
from breastkit.pictures import LESION, TRUTH, outline, to_rgb, write_on
from breastkit.report.document import Picture, Strip

_TILE = 260
_LONG_EDGE = 760
# Side of the squares that lesions are shown in: this much at least, and so much of their extent.
_LEAST_MM, _AROUND = 45.0, 1.8
_BAR_MM = 10
# What lies outside the breasts, of its brightness, and how much of what is behind them is shown.
_DIMMED, _BEHIND_MM = 0.3, 30.0


class MriPictures:
    """Draws a study, turned as radiologists look at it: front or head at the top, the patient's right on the left.

    Args:
        findings: the study, with its phases in memory.

    Attributes:
        breast: mask of the breasts, so turned.
    """

    def __init__(self, findings: MriFindings) -> None:
        phases = findings.phases
        self._findings, self._pre, self._post = findings, phases.arrays[0], phases.arrays[1]
        self._spacing = phases.spacing
        self.breast = phases.axial(findings.breast > 0)
        sample = slice(None, None, 2), slice(None, None, 4), slice(None, None, 4)
        self._low, self._high = (float(each) for each in np.percentile(self._post[sample], (1, 99.5)))
        change = self._post[sample] - self._pre[sample]
        inside = change[self.breast[sample]] if self.breast[sample].any() else change
        self._most = max(float(np.percentile(inside, 99.9)), 1e-6)

    def strip(self, lesion: StudyLesion, *, count: int, name: str) -> Strip:
        """Returns slices through a lesion before and after contrast and subtracted, with its outline.

        Args:
            lesion: which one.
            count: how many slices.
            name: what the pictures are said to show.
        """
        extent = lesion.box.on(self._findings.phases.grid.axial)
        slices = _spread(extent.low[0], extent.high[0], len(self._post), count)
        window = self._square(extent.low[1:], extent.high[1:], self._post.shape[1:])
        inside, mask = self.outlined(lesion)
        before, after = (phase[inside][mask] for phase in (self._pre, self._post))
        # Bright lesions have an inner structure, too, that must not be lost in white.
        high, most = max(self._high, _bright(after)), max(self._most, _bright(after - before))
        kinds: dict[str, tuple[tuple[float, float], Callable[[int], NDArray[Any]]]] = {
            "before": ((self._low, high), lambda k: self._pre[k]),
            "after": ((self._low, high), lambda k: self._post[k]),
            "subtraction": ((0.0, most), lambda k: self._post[k] - self._pre[k]),
        }
        rows = []
        for kind, (limits, of) in kinds.items():
            shown = []
            for k in slices:
                tile = self._tile(of(k)[window], self._slice_of(lesion, k)[window], limits)
                shown.append(Picture.of(tile, f"{name}, {kind}, axial slice {k + 1}"))
            rows.append((kind, shown))
        return Strip(rows, [f"slice {k + 1}" for k in slices])

    def outlined(self, lesion: StudyLesion) -> tuple[tuple[slice, slice, slice], NDArray[np.bool_]]:
        """Returns where the box of a lesion lies in the axial view, and its mask in there."""
        phases = self._findings.phases
        return lesion.box.on(phases.grid.axial).window, phases.axial(lesion.mask[lesion.box.window]) > 0

    def _slice_of(self, lesion: StudyLesion, k: int) -> NDArray[np.bool_]:
        """Returns an axial slice of a lesion's mask."""
        plane = np.zeros(self._post.shape[1:], bool)
        (deep, *across), mask = self.outlined(lesion)
        if deep.start <= k < deep.stop:
            plane[tuple(across)] = mask[k - deep.start]
        return plane

    def projection(self, direction: Literal["axial", "coronal"]) -> Picture:
        """Returns the maximum-intensity projection of the subtraction with all lesions and candidates."""
        axis = 0 if direction == "axial" else 1
        shape = tuple(size for number, size in enumerate(self._post.shape) if number != axis)
        inside, whole = (np.zeros(shape, np.float32) for _ in range(2))
        for k, (before, after, breast) in enumerate(zip(self._pre, self._post, self.breast, strict=True)):
            change = after - before
            for target, part in ((whole, change), (inside, np.where(breast, change, 0))):
                if axis == 0:
                    np.maximum(target, part, out=target)
                else:
                    np.maximum(target[k], part.max(axis=0), out=target[k])
        projected = np.maximum(inside, _DIMMED * whole) if self.breast.any() else whole
        gray = (np.clip(projected / self._most, 0, 1) * 255).astype(np.uint8)
        if axis == 0 and self.breast.any():
            # Nothing is looked for far behind the breasts.
            reach = int(np.flatnonzero(self.breast.any(axis=(0, 2)))[-1])
            gray = gray[: reach + round(_BEHIND_MM / self._spacing[1])]
        steps = [step for number, step in enumerate(self._spacing) if number != axis]
        picture = self._marked(gray, steps, axis)
        found = len(self._findings.lesions)
        alt = f"{direction} maximum-intensity projection of the subtraction with {found or 'no'} outlined lesions"
        return Picture.of(picture, alt, f"{direction}, {'seen from below' if axis == 0 else 'seen from the front'}")

    def _marked(self, gray: NDArray[Any], steps: Sequence[float], axis: int) -> NDArray[Any]:
        """Returns a projection as square pixels with everything that was found marked on it."""
        scale = np.array(steps) / min(steps)
        scale *= _LONG_EDGE / max(scale * gray.shape)
        size = tuple(int(each) for each in np.rint(scale * gray.shape))[::-1]
        picture: NDArray[Any] = to_rgb(cv2.resize(gray, size, interpolation=cv2.INTER_CUBIC))
        phases = self._findings.phases
        labels: list[tuple[str, int, int]] = []
        for box in self._findings.not_outlined:
            on = box.on(phases.grid.axial)
            ends = [[each for number, each in enumerate(corner) if number != axis] for corner in (on.low, on.high)]
            low, high = np.rint(ends[0] * scale).astype(int), np.rint((np.array(ends[1]) + 1) * scale).astype(int)
            cv2.rectangle(picture, low[::-1].tolist(), high[::-1].tolist(), TRUTH, 1, cv2.LINE_AA)
        for n, lesion in enumerate(self._findings.lesions, start=1):
            window, mask = self.outlined(lesion)
            flat = np.zeros([each for number, each in enumerate(self._post.shape) if number != axis], np.uint8)
            flat[tuple(part for number, part in enumerate(window) if number != axis)] = mask.any(axis=axis)
            covered = cv2.resize(flat[: len(gray)], size, interpolation=cv2.INTER_NEAREST)
            picture = outline(picture, covered, LESION, width=2)
            rows, columns = np.nonzero(covered)
            labels.append((str(n), int(columns.max()) + 4, int(rows.min()) + 4))
        if axis == 1:
            # Slices run from the feet; the head belongs to the top.
            picture = np.ascontiguousarray(picture[::-1])
            labels = [(text, x, len(picture) - y) for text, x, y in labels]
        for text, x, y in labels:
            write_on(picture, text, (min(x, size[0] - 20), min(max(y, 18), size[1] - 6)), scale=0.75)
        write_on(picture, "R", (8, size[1] // 2), scale=0.7)
        write_on(picture, "L", (size[0] - 22, size[1] // 2), scale=0.7)
        return picture

    def _square(self, low: Sequence[int], high: Sequence[int], shape: Sequence[int]) -> tuple[slice, slice]:
        """Returns rows and columns of a square around a lesion, as far as the slice reaches."""
        steps = self._spacing[1:]
        side = max(_LEAST_MM, *(_AROUND * (b - a + 1) * step for a, b, step in zip(low, high, steps, strict=True)))
        parts = []
        for first, last, step, size in zip(low, high, steps, shape, strict=True):
            length = min(round(side / step), size)
            start = min(max((first + last + 1 - length) // 2, 0), size - length)
            parts.append(slice(start, start + length))
        return parts[0], parts[1]

    def _tile(self, part: NDArray[Any], mask: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.uint8]:
        low, high = limits
        gray: NDArray[Any] = (np.clip((part - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
        steps = np.array(self._spacing[1:])
        scale = _TILE / max(steps * part.shape) * steps
        size = tuple(int(each) for each in np.rint(scale * part.shape))[::-1]
        gray = cv2.resize(gray, size, interpolation=cv2.INTER_CUBIC)
        smooth = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5
        picture = outline(gray, smooth, LESION, width=2)
        length = round(_BAR_MM * scale[1] / steps[1])
        cv2.line(picture, (8, size[1] - 9), (8 + length, size[1] - 9), (245, 245, 245), 2)
        return picture


def _bright(values: NDArray[Any]) -> float:
    return float(np.percentile(values, 98)) if values.size else 0.0


def _spread(first: int, last: int, depth: int, count: int) -> list[int]:
    """Returns slices spread evenly over a lesion, with those around it where it has too few."""
    while last - first + 1 < min(count, depth):
        first, last = max(first - 1, 0), min(last + 1, depth - 1)
    return sorted({round(float(k)) for k in np.linspace(first, last, count)})
