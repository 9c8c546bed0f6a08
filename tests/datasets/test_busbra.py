import csv

import pytest
from tests.datasets.small_sets import save, square, texture

from breastkit.cases import read_cases
from breastkit.datasets.busbra import prepare_busbra
from breastkit.errors import BreastkitError

PATIENTS = 15


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "BUSBRA"
    rows = []
    for patient in range(1, PATIENTS + 1):
        for side in "lr" if patient % 3 else "l":
            name = f"bus_{patient:04d}-{side}"
            save(folder / "Images" / f"{name}.png", texture(10 * patient + ord(side)))
            save(folder / "Masks" / f"{name.replace('bus', 'mask')}.png", square((5, 9)))
            rows.append(
                {
                    "ID": name,
                    "Case": patient,
                    "Histology": "Cyst",
                    "Pathology": "malignant" if patient % 4 == 0 else "benign",
                    "BIRADS": 2 + patient % 4,
                    "Device": "GE",
                    "Width": 52,
                    "Height": 40,
                    "Side": "left" if side == "l" else "right",
                    "BBOX": "[1 2 3 4]",
                }
            )
    write_table(folder / "bus_data.csv", rows)
    folds = [{"ID": row["ID"], "kFold": 1 + row["Case"] % 5, "Pathology": row["Pathology"]} for row in rows]
    write_table(folder / "5-fold-cv.csv", folds)
    return folder


def write_table(path, rows):
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_its_own_folds_are_honoured(source, tmp_path):
    cases = read_cases(prepare_busbra(source, tmp_path / "out", workers=1))
    assert len(cases.training) == 25 and not cases.validation and not cases.test
    for item in cases.training:
        assert item["fold"] == int(item["case"]) % 5
    assert cases.facts["problems"] == []
    first = next(item for item in cases.training if item["image"].endswith("bus_0001-l.png"))
    assert first["class"] == "benign" and first["birads"] == "3" and first["histology"] == "Cyst"
    assert first["side"] == "left" and first["device"] == "GE" and first["site"] == "busbra"


@pytest.mark.parametrize("options", [{"own_folds": False}, {"folds": 3}, {"test_only": True}])
def test_other_splits_keep_the_views_of_a_patient_together(source, tmp_path, options):
    cases = read_cases(prepare_busbra(source, tmp_path / "out", workers=1, **options))
    places = {}
    for name, item in cases.items():
        places.setdefault(item["case"], set()).add((name, item.get("fold")))
    assert len(places) == PATIENTS
    assert all(len(place) == 1 for place in places.values())
    assert len(cases.test) == (25 if "test_only" in options else 0 if "folds" in options else len(cases.test) or -1)


def test_a_random_split_may_part_the_views(source, tmp_path):
    cases = read_cases(prepare_busbra(source, tmp_path / "out", random_split=True, workers=1))
    assert len({item["case"] for _, item in cases.items()}) == 25


def test_what_is_missing_is_named(source, tmp_path):
    (source / "Masks" / "mask_0001-l.png").unlink()
    (source / "Images" / "bus_0002-l.png").unlink()
    save(source / "Images" / "bus_9999-l.png", texture(1))
    cases = read_cases(prepare_busbra(source, tmp_path / "out", workers=1))
    sentences = "\n".join(cases.facts["problems"])
    assert "'bus_0001-l', but its mask is missing" in sentences
    assert "'bus_0002-l', but its image is missing" in sentences
    assert "bus_9999-l.png is not named in bus_data.csv" in sentences
    assert len(cases.training) == 23


@pytest.mark.parametrize("name", ["bus_data.csv", "5-fold-cv.csv"])
def test_a_table_that_is_missing_or_not_one_gets_a_sentence(source, tmp_path, name):
    (source / name).write_text("a,b\n1,2\n")
    with pytest.raises(BreastkitError, match=f"{name} has no column ID"):
        prepare_busbra(source, tmp_path / "out", workers=1)
    (source / name).unlink()
    with pytest.raises(BreastkitError, match=f"{name} does not exist"):
        prepare_busbra(source, tmp_path / "out", workers=1)
