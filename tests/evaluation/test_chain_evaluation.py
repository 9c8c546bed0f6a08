import csv
import json

import numpy as np
import pytest
from tests.inference.ultrasound_weights import classifier_weights

from breastkit.cases import write_cases
from breastkit.errors import BreastkitError
from breastkit.evaluation.chain_evaluation import evaluate_chain
from breastkit.images import write_png
from breastkit.training.decision_search import OPINIONS

KINDS = ("normal", "benign", "malignant", "malignant")


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """Two folds of four pictures each, the last malignant one of each without a lesion outlined."""
    folder = tmp_path_factory.mktemp("cases")
    items = []
    for fold in range(2):
        for number, kind in enumerate(KINDS):
            name = f"{kind} ({fold}{number})"
            mask = np.zeros((20, 30), np.uint8)
            if kind != "normal" and number < 3:
                mask[5:15, 10:20] = 255
            image = write_png(folder / "images" / f"{name}.png", np.full((20, 30), 90, np.uint8))
            masked = write_png(folder / "masks" / f"{name}.png", mask)
            items.append(
                {
                    "image": str(image),
                    "case": name,
                    "class": kind,
                    "fold": fold,
                    "predicted_mask": str(masked),
                    "predicted_dice": 0.5,
                }
            )
    write_cases(folder, {"training": items, "validation": [], "test": []}, facts={"name": "two folds"})
    return folder, items


def run_of(folder, items, fold, probabilities, *, variant):
    """A run's folder: weights that say the same of everything, and opinions to choose a rule on."""
    classes = ["normal", "benign", "malignant"][-len(probabilities) :]
    held_out = [item for item in items if item["fold"] == fold and item["class"] in classes]
    path = classifier_weights(folder, probabilities, variant=variant, unseen=[item["case"] for item in held_out])
    labels = np.array([classes.index(item["class"]) for item in held_out])
    opinions = np.tile(np.log(probabilities), (len(labels), 3, 1))
    np.savez(path.parent / OPINIONS, opinions=opinions, labels=labels)
    return str(path.parent)


@pytest.fixture(scope="module")
def runs(listed, tmp_path_factory):
    folder, (_, items) = tmp_path_factory.mktemp("runs"), listed
    lesions = [run_of(folder / f"l{fold}", items, fold, (0.4, 0.6), variant="fusion") for fold in range(2)]
    normals = [run_of(folder / f"n{fold}", items, fold, (0.5, 0.3, 0.2), variant="mask_aware") for fold in range(2)]
    return lesions, normals


def test_every_picture_is_read_as_run_us_reads_it(listed, runs, tmp_path):
    lesions, normals = runs
    page = evaluate_chain(str(listed[0]), lesion_runs=lesions, normal_runs=normals, out=str(tmp_path), backend="torch")
    rows = list(csv.DictReader((page.parent / "metrics.csv").open()))
    assert [row["image"] for row in rows] == [f"{item['case']}.png" for item in listed[1]]
    for number, row in enumerate(rows):
        # Where a lesion is outlined one network says normal or not and the other shares out the rest.
        normal, benign, malignant = (float(row[f"p_{kind}"]) for kind in ("normal", "benign", "malignant"))
        assert (malignant > benign) == (number % 4 in (1, 2))
        assert normal + benign + malignant == pytest.approx(1, abs=1e-4)
    summary = json.loads((page.parent / "summary.json").read_text())
    assert summary["classes"] == {"malignant": 4, "normal": 2, "benign": 2}
    assert summary["architecture"] == "mask_aware and fusion"
    assert summary["figures"]["macro_f1"]
    assert len(list((page.parent / "pictures").glob("*.png"))) == len(rows)


def test_what_cannot_be_judged_is_said(listed, runs, tmp_path):
    lesions, normals = runs
    source, out = str(listed[0]), str(tmp_path / "out")
    with pytest.raises(BreastkitError, match="2 and 1 runs were named"):
        evaluate_chain(source, lesion_runs=lesions, normal_runs=normals[:1], out=out)
    twice = [normals[0], normals[0]]
    with pytest.raises(BreastkitError, match="was seen by all the networks named"):
        evaluate_chain(source, lesion_runs=lesions, normal_runs=twice, out=out)
    everything = str(classifier_weights(tmp_path / "all", (0.5, 0.3, 0.2), variant="mask_aware").parent)
    with pytest.raises(BreastkitError, match="does not say which pictures it has not seen"):
        evaluate_chain(source, lesion_runs=lesions, normal_runs=[everything, normals[0]], out=out)
    assert not (tmp_path / "out").exists()
