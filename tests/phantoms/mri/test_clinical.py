"""The clinical table goes with the lesions in the way its module says."""

import numpy as np
import pytest

from breastkit.phantoms.mri import clinical
from breastkit.phantoms.mri.case import _draw_lesion
from breastkit.seeding import generator


@pytest.fixture(scope="module")
def patients():
    rng = generator(0, "clinical test")
    rows = []
    for n in range(1500):
        subtype = clinical.draw_subtype(rng)
        lesion = _draw_lesion(rng, subtype, None)
        age = clinical.draw_age(rng, subtype)
        row = clinical.clinical_record(rng, patient=str(n), subtype=subtype, age=age, largest_mm=lesion.diameter_mm)
        rows.append((subtype, lesion, row))
    return rows


def test_receptors_follow_the_subtype(patients):
    for subtype, _, row in patients:
        if subtype == "triple negative":
            assert not row["er"] and not row["pr"] and not row["her2"]
        elif subtype.startswith("luminal"):
            assert row["er"] in (1, None)
        else:
            assert row["her2"] in (1, None) and not row["er"]


def test_lesions_follow_the_subtype(patients):
    def of(kind):
        return [lesion for subtype, lesion, _ in patients if subtype == kind]

    luminal, negative = of("luminal A"), of("triple negative")
    assert np.median([s.diameter_mm for s in negative]) > 1.5 * np.median([s.diameter_mm for s in luminal])
    assert np.mean([s.curve == "washout" for s in negative]) > np.mean([s.curve == "washout" for s in luminal]) + 0.4
    assert (
        np.mean([s.shape == "spiculated" for s in luminal]) > np.mean([s.shape == "spiculated" for s in negative]) + 0.3
    )


def test_grade_rises_with_size(patients):
    pairs = [(lesion.diameter_mm, row["grade"]) for _, lesion, row in patients if row["grade"]]
    assert {g for _, g in pairs} == {1, 2, 3}
    assert np.corrcoef(np.array(pairs, dtype=float).T)[0, 1] > 0.3


def test_some_values_are_missing(patients):
    ages = [row["age"] for _, _, row in patients]
    share = sum(a is None for a in ages) / len(ages)
    assert 0.04 < share < 0.1
    assert all(row["patient_id"] for _, _, row in patients)


def test_without_a_lesion_there_is_no_tumour_record():
    row = clinical.clinical_record(generator(0, 1), patient="7", subtype=None, age=50, largest_mm=0)
    assert all(row[name] is None for name in ("er", "pr", "her2", "subtype", "grade"))
