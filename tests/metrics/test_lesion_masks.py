import numpy as np
import pytest

from breastkit.metrics.lesion_masks import lesion_rows, patient_metrics, slice_rows


@pytest.fixture
def truth():
    mask = np.zeros((8, 20, 20), dtype=bool)
    mask[2:4, 2:6, 2:6] = True
    mask[5:7, 12:16, 12:16] = True
    return mask


def test_patient_counts_voxels(truth):
    prediction = np.zeros_like(truth)
    prediction[2:4, 2:6, 2:8] = True
    figures = patient_metrics(prediction, truth, spacing=(1, 1, 1))
    assert figures["precision"] == pytest.approx(32 / 48)
    assert figures["recall"] == pytest.approx(0.5)
    assert figures["false_positive_voxels"] == 16
    assert figures["dice"] == pytest.approx(2 * 32 / (48 + 64))


def test_finding_nothing_is_no_precision(truth):
    assert patient_metrics(np.zeros_like(truth), truth, spacing=(1, 1, 1))["precision"] == 0
    empty = np.zeros_like(truth)
    assert patient_metrics(empty, empty, spacing=(1, 1, 1))["precision"] == 1


def test_every_lesion_is_judged_by_what_touches_it(truth):
    prediction = np.zeros_like(truth)
    prediction[2:4, 2:6, 2:6] = True
    prediction[0, 18:, 18:] = True
    first, second = lesion_rows(prediction, truth)
    assert (first["found"], first["dice"], first["recall"]) == (True, 1.0, 1.0)
    assert (second["found"], second["dice"], second["voxels"]) == (False, 0.0, 32)


def test_a_piece_over_two_lesions_is_shared(truth):
    rows = lesion_rows(np.ones_like(truth), truth)
    assert [row["recall"] for row in rows] == [1.0, 1.0]
    # The other lesion's voxels are not held against it.
    assert rows[0]["dice"] == pytest.approx(2 * 32 / (truth.size - 32 + 32))


def test_slices_tell_empty_ones_apart(truth):
    prediction = np.zeros_like(truth)
    prediction[2, 2:6, 2:6] = True
    prediction[0, 0, 0] = True
    rows = slice_rows(prediction, truth)
    assert [row["dice"] for row in rows] == [0, 1, 1, 0, 1, 0, 0, 1]
    assert (rows[0]["truth_voxels"], rows[0]["prediction_voxels"], rows[0]["precision"]) == (0, 1, 0)
    assert (rows[3]["recall"], rows[3]["precision"]) == (0, 0)
