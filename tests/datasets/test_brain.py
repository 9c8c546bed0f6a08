import numpy as np
import pytest
from PIL import Image
from tests.datasets.small_sets import save, square, texture

from breastkit.cases import read_cases
from breastkit.datasets.brain import prepare_brain
from breastkit.errors import BreastkitError


def test_slices_without_patients_are_grouped_by_resemblance(tmp_path):
    for number in range(1, 21):
        seed = 3 if number in (3, 7, 11) else number
        save(tmp_path / "brain" / "images" / f"{number}.png", (texture(seed) * (1 - number / 100)).astype(np.uint8))
        save(tmp_path / "brain" / "masks" / f"{number}.png", square((5, 9)))
    cases = read_cases(prepare_brain(tmp_path / "brain", tmp_path / "out", workers=1))
    items = {item["image"].rsplit("/", 1)[1]: (name, item) for name, item in cases.items()}
    assert len(items) == 20
    assert len({items[f"{number}.png"][1]["case"] for number in (3, 7, 11)}) == 1
    assert len({items[f"{number}.png"][0] for number in (3, 7, 11)}) == 1
    assert abs(len(cases.training) - 14) <= 1
    assert cases.facts["problems"] == []


def test_tcga_is_grouped_by_patient(tmp_path):
    for patient in range(6):
        name = f"TCGA_CS_{4000 + patient}_19960909"
        folder = tmp_path / "lgg" / "kaggle_3m" / name
        folder.mkdir(parents=True)
        for number in range(1, 4):
            colour = np.stack([texture(50 * patient + number)] * 3, -1)
            Image.fromarray(colour).save(folder / f"{name}_{number}.tif")
            Image.fromarray(square((5, 9)) * (number > 1)).save(folder / f"{name}_{number}_mask.tif")
    cases = read_cases(prepare_brain(tmp_path / "lgg", tmp_path / "out", workers=1))
    places = {}
    for name, item in cases.items():
        places.setdefault(item["case"], []).append((name, item.get("fold")))
    assert sorted(places) == [f"TCGA_CS_{4000 + patient}_19960909" for patient in range(6)]
    assert all(len(of_patient) == 3 and len(set(of_patient)) == 1 for of_patient in places.values())
    assert {name for name, _ in cases.items()} == {"training", "validation", "test"}
    assert sum(item["lesion_px"] == 0 for _, item in cases.items()) == 6


def test_another_layout_gets_a_sentence(tmp_path):
    with pytest.raises(BreastkitError, match="nothing does not exist"):
        prepare_brain(tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(BreastkitError, match="neither images and masks nor TCGA"):
        prepare_brain(tmp_path, tmp_path / "out")
