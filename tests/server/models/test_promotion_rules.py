"""What weights need to take the place of those in use; each rule by an example that is promoted without it."""

import json

import numpy as np
import pytest
import torch
from tests.bundles.tiny import AFFINE, breast_scan

from breastkit.bundle import Bundle, find_bundles
from breastkit.errors import BreastkitError
from breastkit.images import write_nifti, write_png
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.server.labels.label_uses import Answer, use_of
from breastkit.server.models.label_training import LabelTraining, collect_labels, train_candidate
from breastkit.server.models.promotion_rules import LEAST_CASES, compare, phantom_cases, why_collapsed, why_not_better
from breastkit.server.security.request_values import TrainingOptions, options_of, training_options_for
from breastkit.server.security.users import Role
from breastkit.server.studies.study_store import open_store
from breastkit.weights import load_weights, read_model_json, save_weights

PICTURES, CLASSIFIER = "breast_us_lesion_segmentation", "breast_us_lesion_classification"
TISSUE = "breast_mri_tissue_segmentation"


def why_not(current, candidate, *, patients=None, empty=()):
    """Says what becomes of Dice values of the same cases."""
    patients = patients or [str(number) for number in range(len(current))]
    answers = [
        [
            Answer(patient, value, number in empty)
            for number, (patient, value) in enumerate(zip(patients, values, strict=True))
        ]
        for values in (current, candidate)
    ]
    use = use_of(Bundle(PICTURES))
    return why_not_better(use, compare(use, *answers))


def test_a_tie_at_nothing_promotes_nothing():
    assert "would be of no use" in why_not([0.0] * 6, [0.0] * 6)


def test_a_tie_that_is_useful_is_promoted():
    assert why_not([0.8] * 6, [0.8] * 6) == ""


@pytest.mark.parametrize(
    "options",
    [
        {"current": [0.2] * 4, "candidate": [0.9] * 4},
        {"current": [0.2] * 6, "candidate": [0.9] * 6, "empty": (0, 3)},
        {"current": [0.2] * 6, "candidate": [0.9] * 6, "patients": ["one"] * 6},
    ],
)
def test_few_cases_decide_nothing(options):
    assert "at least 5 validation cases with something in them, of 2 patients" in why_not(**options)


def test_better_beyond_chance_is_promoted_although_it_is_not_good_yet():
    assert why_not([0.1, 0.2, 0.15, 0.1, 0.2, 0.1], [0.4, 0.45, 0.4, 0.35, 0.4, 0.4]) == ""


def test_better_by_chance_is_not_enough_where_it_is_not_useful():
    assert "not better beyond chance" in why_not([0.1, 0.2, 0.1, 0.3, 0.2, 0.1], [0.5, 0.0, 0.2, 0.2, 0.1, 0.3])


def test_worse_is_worse():
    assert "worse than the weights in use" in why_not([0.9] * 6, [0.85, 0.9, 0.9, 0.9, 0.9, 0.9])


def test_pictures_of_a_patient_count_as_one_in_the_interval():
    # Twenty pictures of two patients, one of whom gains nothing, tell less than of twenty.
    current, candidate = [0.2] * 20, [0.4] * 10 + [0.2] * 10
    assert why_not(current, candidate) == ""
    assert "not better beyond chance" in why_not(current, candidate, patients=["a"] * 10 + ["b"] * 10)


def test_figures_that_are_none_promote_nothing():
    use = use_of(Bundle(CLASSIFIER))
    one_class = [Answer(str(number), ([0.5, 0.5], 1)) for number in range(6)]
    assert "cannot be compared" in why_not_better(use, compare(use, one_class, one_class))


@pytest.mark.parametrize("bundle", find_bundles(), ids=lambda bundle: bundle.name)
def test_what_ships_answers_its_phantoms(bundle, tmp_path):
    use = use_of(bundle)
    assert use.figure(use.answers(bundle.shipped_weights, phantom_cases(use, tmp_path))) >= use.useful_from


def test_weights_that_outline_nothing_any_more_fail_on_phantoms(tmp_path):
    bundle = Bundle(PICTURES)
    facts, weights = read_model_json(bundle.shipped_weights), load_weights(bundle.shipped_weights)
    forgotten = {name: torch.zeros_like(value) for name, value in weights.items()}
    save_weights(tmp_path / "run", forgotten, **{name: value for name, value in facts.items() if name != "sha256"})
    why, reached = why_collapsed(use_of(bundle), bundle.shipped_weights, tmp_path / "run" / "model.pt", tmp_path / "a")
    assert "fails on phantoms" in why
    assert reached["candidate"] == pytest.approx(0, abs=0.2)
    assert reached["shipped"] > 0.8
    assert why_collapsed(use_of(bundle), *[bundle.shipped_weights] * 2, tmp_path / "b")[0] == ""


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"learning_rate": 1.0}, "at most 0.001"), ({"max_epochs": 201}, "at most 200"), ({"batch_size": 17}, "16")],
)
def test_an_annotator_goes_less_far_than_an_administrator(wrong, words):
    with pytest.raises(BreastkitError, match=words):
        options_of(training_options_for(Role.ANNOTATOR), wrong)
    most = {"learning_rate": 1e-2, "max_epochs": 1000, "batch_size": 64}
    assert options_of(training_options_for(Role.ADMIN), most) == TrainingOptions(**most)


def test_nobody_trains_with_steps_that_undo_everything():
    with pytest.raises(BreastkitError, match="learning_rate"):
        options_of(training_options_for(Role.ADMIN), {"learning_rate": 1.0})


def test_what_waits_for_an_administrator_is_used_once_confirmed(tmp_path):
    for number in range(2 * LEAST_CASES):
        write_nifti(tmp_path / "studies" / f"breast{number}.nii.gz", breast_scan(number)[0], AFFINE)
    store, bundle = open_store(str(tmp_path / "studies")), Bundle(TISSUE, models=tmp_path / "models")
    for number in range(2 * LEAST_CASES):
        grid = store.images.grid_of(store.image(f"breast{number}"))
        store.labels.save(f"breast{number}", breast_scan(number)[1], grid, names={"breast": 1})
    training, job = LabelTraining(store), store.folder / ".training" / "000001"
    with pytest.raises(BreastkitError, match="waits for a confirmation"):
        training.confirm(bundle)
    collect_labels(store, use_of(bundle), job / "cases")
    options = TrainingOptions(max_epochs=1, learning_rate=1e-9)
    says = train_candidate(bundle, job, options, training="this one", needs_confirmation=True)
    (job / "training.json").write_text(json.dumps({"pid": 0, "started": "", "model": TISSUE}))
    (job / "job.json").write_text(json.dumps({"options": options.model_dump()}))
    assert says.startswith("Waits for an administrator's confirmation: Dice")
    assert bundle.weights_in_use == bundle.shipped_weights
    confirmed = training.confirm(bundle, user="eva")
    assert confirmed["says"].startswith("Promoted as version 1: Dice")
    assert training.state()["says"] == confirmed["says"]
    record = json.loads(bundle.weights_in_use.with_name("promotion.json").read_text())
    assert (record["confirmed_by"], record["training"], record["filled_cases"]) == ("eva", "this one", LEAST_CASES)
    with pytest.raises(BreastkitError, match="waits for a confirmation"):
        training.confirm(bundle)


@pytest.mark.slow
def test_nonsense_that_every_label_tells_alike_is_not_promoted(tmp_path):
    # The same box in a corner of every picture, validation included: learned, it is better than now beyond chance.
    size = (160, 200)
    for number in range(2 * LEAST_CASES):
        phantom = make_us_phantom(21, number, size=size, label="benign")
        write_png(tmp_path / "studies" / f"us{number}.png", phantom.image)
    store, bundle = open_store(str(tmp_path / "studies")), Bundle(PICTURES, models=tmp_path / "models")
    box = np.zeros((*size[::-1], 1), np.uint8)
    box[5:60, 5:50] = 1
    for number in range(2 * LEAST_CASES):
        grid = store.images.grid_of(store.image(f"us{number}"))
        store.labels.save(f"us{number}", box, grid, names={"lesion": 1}, flat=True)
    collect_labels(store, use_of(bundle), tmp_path / "job" / "cases")
    says = train_candidate(bundle, tmp_path / "job", TrainingOptions(max_epochs=10, learning_rate=1e-3))
    compared = json.loads((tmp_path / "job" / "comparison.json").read_text())
    assert compared["difference"][1] > 0, compared
    assert says.startswith("Waits for an administrator") or "fails on phantoms" in says
    assert bundle.weights_in_use == bundle.shipped_weights
