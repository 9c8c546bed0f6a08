import csv

import pytest
from tests.bundles.tiny import tiny_studies

from breastkit.cases import read_cases
from breastkit.datasets.dce_case import DceCase, DceRecipe
from breastkit.datasets.dce_set import write_dce_set
from breastkit.errors import BreastkitError


@pytest.fixture
def cases(tmp_path):
    folder = tiny_studies(tmp_path / "set", cases=2)
    return [
        DceCase(
            place.name, tuple(sorted(place.iterdir())), folder / "segmentations/expert" / f"{place.name.lower()}.nii.gz"
        )
        for place in sorted((folder / "images").iterdir())
    ]


def written(cases, out):
    lists = {"training": [(case, 0) for case in cases], "validation": [], "test": []}
    recipe = DceRecipe(out, 64, "pre-post-subtraction", 0)
    return write_dce_set(lists, recipe, curation={}, negatives=1.0, split={}, workers=1)


@pytest.mark.parametrize("lost", ["phase", "mask"])
def test_a_file_that_went_since_the_listing_costs_its_patient_alone(cases, tmp_path, lost):
    gone = cases[0].phases[1] if lost == "phase" else cases[0].mask
    gone.unlink()
    path = written(cases, tmp_path / "out")
    assert {item["case"] for item in read_cases(path, check=False).training} == {cases[1].name}
    rows = {row["patient"]: row for row in csv.DictReader((tmp_path / "out/curation.csv").open())}
    assert rows[cases[0].name]["reason"] == f"{gone} is gone since the set was listed; put it back and prepare again."
    assert rows[cases[1].name]["kept"] == "True"
    assert not list((tmp_path / "out").rglob(f"{cases[0].name}*"))


def test_where_all_are_gone_the_sentence_is_the_answer(cases, tmp_path):
    for case in cases:
        case.phases[0].unlink()
    with pytest.raises(BreastkitError, match="is gone since the set was listed"):
        written(cases, tmp_path / "out")
