"""The clinical table of phantoms, drawn so that it goes with the lesions in a known way.

The molecular subtype is drawn first, and everything else follows from it:

* **receptors**: luminal tumours are ER positive and mostly PR positive, HER2-enriched ones HER2 positive only, triple
  negative ones negative in all three.
* **shape**: luminal tumours are often spiculated or irregular, triple negative ones round with an enhancing rim.
* **curve**: luminal A tumours mostly enhance persistently, HER2-enriched and triple negative ones mostly wash out.
* **size**: median diameter 12 mm for luminal A, 16 mm for luminal B, 20 mm for HER2-enriched, 24 mm for triple
  negative.
* **grade**: 1 to 3, higher for the latter subtypes and for lesions over 20 mm.
* **age**: 30 to 85; the density of the breasts falls with it, and triple negative tumours are on average ten years
  earlier.

Women without a lesion have age only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

COLUMNS = ("patient_id", "age", "er", "pr", "her2", "subtype", "grade")
# A share of the values is missing, as in every clinical table.
MISSING = 0.07


@dataclass(frozen=True)
class Subtype:
    """What goes with a molecular subtype: odds of receptors, shapes and curves, size, rim, grade and age."""

    share: float
    er: float
    pr: float
    her2: float
    shapes: dict[str, float]
    curves: dict[str, float]
    diameter_mm: float
    rim: float
    grade: float
    age: float


def _odds(*values: float, names: tuple[str, ...]) -> dict[str, float]:
    return dict(zip(names, values, strict=True))


_SHAPES = ("round", "lobulated", "irregular", "spiculated")
_CURVES = ("persistent", "plateau", "washout")
SUBTYPES = {
    "luminal A": Subtype(
        0.42, 1.0, 0.9, 0.0,
        _odds(0.1, 0.15, 0.3, 0.45, names=_SHAPES), _odds(0.65, 0.25, 0.1, names=_CURVES), 12, 0.1, 1.4, 60,
    ),
    "luminal B": Subtype(
        0.25, 1.0, 0.65, 0.4,
        _odds(0.1, 0.2, 0.4, 0.3, names=_SHAPES), _odds(0.3, 0.45, 0.25, names=_CURVES), 16, 0.2, 2.1, 56,
    ),
    "HER2-enriched": Subtype(
        0.13, 0.0, 0.0, 1.0,
        _odds(0.1, 0.25, 0.5, 0.15, names=_SHAPES), _odds(0.1, 0.3, 0.6, names=_CURVES), 20, 0.3, 2.6, 53,
    ),
    "triple negative": Subtype(
        0.2, 0.0, 0.0, 0.0,
        _odds(0.55, 0.3, 0.12, 0.03, names=_SHAPES), _odds(0.05, 0.25, 0.7, names=_CURVES), 24, 0.8, 2.8, 48,
    ),
}  # fmt: skip


def draw_subtype(rng: np.random.Generator) -> str:
    """Draws the molecular subtype of a patient's tumour."""
    return str(rng.choice(list(SUBTYPES), p=[s.share for s in SUBTYPES.values()]))


def draw_age(rng: np.random.Generator, subtype: str | None) -> int:
    """Draws an age in years."""
    return int(np.clip(rng.normal(SUBTYPES[subtype].age if subtype else 52, 9), 30, 85))


def draw_density(rng: np.random.Generator, age: int) -> float:
    """Draws the share of fibroglandular tissue in the breasts, which falls with age."""
    return float(np.clip(rng.lognormal(np.log(0.2) - 0.025 * (age - 45), 0.75), 0.02, 0.7))


def clinical_record(
    rng: np.random.Generator, *, patient: str, subtype: str | None, age: int, largest_mm: float
) -> dict[str, Any]:
    """Returns one row of the clinical table.

    Args:
        rng: the random stream.
        patient: what identifies the patient.
        subtype: the tumour's subtype, None without one.
        age: in years.
        largest_mm: diameter of the largest lesion.
    """
    record: dict[str, Any] = dict.fromkeys(COLUMNS)
    record.update(patient_id=patient, age=age)
    if subtype:
        kind = SUBTYPES[subtype]
        record.update({name: int(rng.uniform() < getattr(kind, name)) for name in ("er", "pr", "her2")})
        grade = rng.normal(kind.grade, 0.45) + (0.4 if largest_mm > 20 else 0.0)
        record.update(subtype=subtype, grade=int(np.clip(round(grade), 1, 3)))
    for name in COLUMNS[1:]:
        if rng.uniform() < MISSING:
            record[name] = None
    return record
