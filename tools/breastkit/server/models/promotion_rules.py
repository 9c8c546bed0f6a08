"""When weights that were trained on labels may take the place of those in use, and the sentence that says why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from breastkit.cases import CaseList, read_cases, write_cases
from breastkit.metrics.intervals import Interval
from breastkit.server.labels.label_uses import Answer, LabelUse

# Validation cases with something in them, and the patients they are of at least: fewer decide nothing.
LEAST_CASES, LEAST_PATIENTS = 5, 2
# What is left on the phantoms of the way from chance to what the shipped weights reach; below, it is a collapse. Of the
# ultrasound segmenter, true labels of a dozen pictures leave 0.91 to 0.99, and boxes in a corner 0.10 to 0.77 or more.
_LEFT = 0.8
_RESAMPLES = 500


@dataclass(frozen=True)
class Comparison:
    """What two sets of weights reach on the same validation list.

    Attributes:
        current: of the weights in use.
        candidate: of those that were trained.
        difference: candidate less current, with its 95 % interval over patients.
        cases: how many validation cases have something in them.
        patients: of how many patients those are.
    """

    current: float
    candidate: float
    difference: Interval
    cases: int
    patients: int


def compare(use: LabelUse, current: Sequence[Answer], candidate: Sequence[Answer]) -> Comparison:
    """Compares what two sets of weights answer to the same cases, in the same order.

    Args:
        use: makes a figure of answers.
        current: of the weights in use.
        candidate: of those that were trained.
    """
    filled = [answer.patient for answer in current if not answer.is_empty]
    reached = use.figure(current), use.figure(candidate)
    patients = sorted({answer.patient for answer in current})
    of_patient = {patient: [n for n, one in enumerate(current) if one.patient == patient] for patient in patients}
    draw, differences = np.random.default_rng(0), []
    for _ in range(_RESAMPLES if len(patients) > 1 else 0):
        chosen = [n for place in draw.integers(len(patients), size=len(patients)) for n in of_patient[patients[place]]]
        before, after = (use.figure([answers[n] for n in chosen]) for answers in (current, candidate))
        differences.append(after - before)
    known = [one for one in differences if np.isfinite(one)]
    low, high = np.quantile(known, (0.025, 0.975)) if known else (np.nan, np.nan)
    difference = Interval(reached[1] - reached[0], float(low), float(high))
    return Comparison(*reached, difference, len(filled), len(set(filled)))


def why_not_better(use: LabelUse, found: Comparison) -> str:
    """Says why a comparison lets nothing be promoted, empty where it does.

    Args:
        use: says from which figure on weights are useful at all.
        found: the comparison.
    """
    if found.cases < LEAST_CASES or found.patients < LEAST_PATIENTS:
        return (
            f"promotion needs at least {LEAST_CASES} validation cases with something in them, of {LEAST_PATIENTS} "
            f"patients, and there are {found.cases} of {found.patients}; save more labels"
        )
    if not np.isfinite(found.difference.value):
        return "the two cannot be compared on these cases; save more labels"
    if found.difference.low > 0:
        return ""
    difference = f"the difference is {found.difference.text()}"
    if found.difference.value < 0:
        return f"it is worse than the weights in use ({difference})"
    if found.candidate < use.useful_from:
        return f"it is not better beyond chance ({difference}), and below {use.useful_from} it would be of no use"
    return ""


def why_collapsed(use: LabelUse, shipped: Path, candidate: Path, folder: Path) -> tuple[str, dict[str, float]]:
    """Says why weights that answer phantoms far worse than those that ship are not promoted; empty where they do not.

    Whoever can save labels can teach a model nonsense and measure it by the same nonsense; phantoms made by code are
    beyond that.

    Args:
        use: makes phantoms of what it reads.
        shipped: the weights that ship.
        candidate: the weights that were trained.
        folder: to write the phantoms to.

    Returns:
        The reason, and what both reach.
    """
    cases = phantom_cases(type(use)(use.bundle), folder)
    reached = {
        name: use.figure(use.answers(one, cases)) for name, one in (("shipped", shipped), ("candidate", candidate))
    }
    least = use.chance + _LEFT * (reached["shipped"] - use.chance)
    if reached["candidate"] >= least:
        return "", reached
    told = f"{use.measure} {reached['candidate']:.3f}, {reached['shipped']:.3f} with the weights that ship"
    return f"it fails on phantoms made by code ({told}), so the labels may be wrong or the training too hard", reached


def phantom_cases(use: LabelUse, folder: Path) -> CaseList:
    """Returns the phantoms of a kind of bundle as a case list, written to a folder."""
    items: list[dict[str, Any]] = use.finish(use.phantoms(folder), folder)
    write_cases(folder, {"validation": items}, facts=use.facts())
    return read_cases(folder)
