import json
import re
from pathlib import Path

import pytest
from tests.datasets.small_sets import write_busi

from breastkit.cases import read_cases
from breastkit.cli import main
from breastkit.datasets.busi import prepare_busi
from breastkit.datasets.join import join_case_lists
from breastkit.errors import BreastkitError
from breastkit.images import stem


@pytest.fixture
def sets(tmp_path):
    """Two hospitals, the second of which does not say so."""
    folders = []
    for name, first in (("here", 0), ("there", 50)):
        source = write_busi(tmp_path / "source" / name, {"benign": 9, "malignant": 6, "normal": 3}, first_seed=first)
        for path in list(source.rglob("*.png")):
            path.rename(path.with_name(path.name.replace(" (", f" {name} (")))
        folders.append(prepare_busi(source, tmp_path / name, folds=3, workers=1).parent)
    path = folders[1] / "dataset.json"
    path.write_text(re.sub(r'"(site|device)": "[^"]*",?', "", path.read_text()))
    return [str(folder) for folder in folders]


def test_cases_keep_list_and_fold_and_say_where_they_are_from(sets, tmp_path):
    assert main(["data", "join", *sets, "--out", str(tmp_path / "both")]) == 0
    both = read_cases(tmp_path / "both")
    alone = [item for place in sets for item in read_cases(place).training]
    assert [(item["image"], item["fold"]) for item in both.training] == [(i["image"], i["fold"]) for i in alone]
    assert {item["site"] for item in both.training} == {"busi", "there"}
    assert all(item["case"].startswith(f"{item['site']}/") for item in both.training)
    # Nothing was copied, and the folder can be moved together with the others.
    assert [path.name for path in (tmp_path / "both").iterdir()] == ["dataset.json"]
    written = json.loads((tmp_path / "both/dataset.json").read_text())["training"]
    assert written[0]["image"].startswith("../here/images/")
    # Joined again it is the same.
    before = both.hash
    assert read_cases(join_case_lists(sets, out=tmp_path / "both")).hash == before


def test_a_fold_becomes_what_is_chosen_by_and_what_is_measured_on(sets, tmp_path):
    cases = read_cases(join_case_lists(sets, out=tmp_path / "both", test_fold=1))
    held_out = {stem(i["image"]) for place in sets for i in read_cases(place).training if i["fold"] == 1}
    assert {stem(item["image"]) for item in cases.validation + cases.test} == held_out
    assert {item["fold"] for item in cases.training} == {0, 2}
    assert len(cases.validation) < len(cases.test)
    for site in ("busi", "there"):
        assert {"benign", "malignant"} <= {item["class"] for item in cases.test if item["site"] == site}


def test_what_cannot_be_joined(sets, tmp_path):
    with pytest.raises(BreastkitError, match="nothing to join"):
        join_case_lists(sets[:1], out=tmp_path / "both")
    with pytest.raises(BreastkitError, match="have one name"):
        join_case_lists([sets[0], sets[0]], out=tmp_path / "both")
    with pytest.raises(BreastkitError, match="prepared set"):
        join_case_lists(sets, out=sets[0])
    with pytest.raises(BreastkitError, match="number 3"):
        join_case_lists(sets, out=tmp_path / "both", test_fold=3)
    assert not Path(tmp_path / "both").exists()
