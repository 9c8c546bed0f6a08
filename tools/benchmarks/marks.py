"""Whether answers on ultrasound pictures hang on callipers and text: the same pictures with these painted over.

The variable ``BREASTKIT_CASES`` names a prepared folder, such as BUSI and BUS-BRA joined; the pictures of its list
``test`` that carry marks are measured. The shipped segmenter has not learnt from them where the folder was joined with
``--test_fold 0``; the classifiers have learnt from some of BUSI's.
"""

from __future__ import annotations

import os
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.measured import Measured
from breastkit.bundle import Bundle
from breastkit.cases import read_cases
from breastkit.errors import BreastkitError
from breastkit.images import read_gray, read_mask
from breastkit.inference.ultrasound import Reading, UltrasoundReader
from breastkit.metrics import Interval, grouped_interval, share_interval
from breastkit.metrics.segmentation import dice
from breastkit.pipelines import ULTRASOUND
from breastkit.progress import track

# A mark is nearly white and stands out; around such a seed belongs to it what still stands out.
_WHITE, _SEED, _AROUND, _STROKE = 190, 80, 30, 11
# Pixels of a speck that is no mark, and the share of a picture from which on it carries marks.
_SPECK, _MARKED = 6, 0.0008


def main() -> Measured:
    """Runs the benchmark.

    Raises:
        BreastkitError: if there are no pictures.
    """
    folder = os.environ.get("BREASTKIT_CASES", "")
    if not folder:
        raise BreastkitError("There are no pictures; let BREASTKIT_CASES name a prepared folder, such as work/us.")
    reader = UltrasoundReader.of_bundle(Bundle(ULTRASOUND))
    read: list[tuple[dict[str, Any], Reading, Reading, float]] = []
    for item in track(read_cases(folder).judged("test"), "Pictures"):
        gray = read_gray(item["image"])
        marks = marks_of(gray)
        if marks.mean() >= _MARKED:
            plain = cv2.inpaint(gray, marks, 3, cv2.INPAINT_TELEA)
            read.append((item, reader.read(gray, explain=False), reader.read(plain, explain=False), marks.mean()))
    figures: dict[str, Any] = {}
    lines = [f"marks: {len(read)} pictures of the list test of {folder} carry marks; with and without, difference:"]
    for site in sorted({str(item.get("site", "")) for item, *_ in read}):
        of_site = [each for each in read if str(each[0].get("site", "")) == site]
        figures[site] = found = _compared(of_site)
        difference = "{:+.3f} ({:+.3f} to {:+.3f})".format(*found["difference"])
        lines.append(
            f"{site} ({found['pictures']}): Dice {found['dice'][0]:.3f} and {found['dice_without'][0]:.3f} "
            f"({difference}), malignancy moves by {found['moved'][0]:.3f} (median {found['moved_median']:.3f}), "
            f"class changes in {found['class_changed'][0]:.1%}, suspicion in {found['suspicion_changed'][0]:.1%}"
        )
    return Measured({"list": read_cases(folder).hash, **figures}, tuple(lines))


def marks_of(gray: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns which pixels belong to callipers, dotted lines and text, 0 or 1.

    Args:
        gray: the picture, 8-bit.
    """
    above = cv2.subtract(gray, cv2.medianBlur(np.ascontiguousarray(gray), _STROKE))
    seeds = (above > _SEED) & (gray > _WHITE)
    count, parts, found, _ = cv2.connectedComponentsWithStats((above > _AROUND).astype(np.uint8), connectivity=8)
    white = np.bincount(parts[seeds], minlength=count)
    # Lines of bright tissue have a white grain here and there; a mark is white for a good part.
    marks = (white >= _SPECK) & (white > 0.25 * found[:, cv2.CC_STAT_AREA])
    marks[0] = False
    return cv2.dilate(marks[parts].astype(np.uint8), np.ones((3, 3), np.uint8))


def _compared(read: list[tuple[dict[str, Any], Reading, Reading, float]]) -> dict[str, Any]:
    groups = [item["case"] for item, *_ in read]
    outlined = [each for each in read if each[0].get("label") and each[0].get("lesion_px", 1)]
    truths = [read_mask(item["label"]) > 0 for item, *_ in outlined]
    with_marks = [dice(one.mask, truth) for (_, one, _, _), truth in zip(outlined, truths, strict=True)]
    without = [dice(other.mask, truth) for (_, _, other, _), truth in zip(outlined, truths, strict=True)]
    cases = [item["case"] for item, *_ in outlined]
    difference = np.subtract(without, with_marks)
    moved = [abs(one.probabilities["malignant"] - other.probabilities["malignant"]) for _, one, other, _ in read]
    changed = sum(one.label != other.label for _, one, other, _ in read)
    suspected = sum(one.suspicious != other.suspicious for _, one, other, _ in read)
    return {
        "pictures": len(read),
        "marked_share": float(np.mean([share for *_, share in read])),
        "dice": _triple(grouped_interval(with_marks, cases)),
        "dice_without": _triple(grouped_interval(without, cases)),
        "difference": _triple(grouped_interval(difference.tolist(), cases)),
        "moved": _triple(grouped_interval(moved, groups)),
        "moved_median": float(np.median(moved)),
        "class_changed": _triple(share_interval(changed, len(read))),
        "suspicion_changed": _triple(share_interval(suspected, len(read))),
    }


def _triple(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high
