"""Fast dynamic scans to slices: which volumes are taken, where masks come from, and who is left out."""

import csv
import json
from datetime import datetime

import numpy as np
import pytest
from tests.bundles.tiny import tiny_study
from tests.datasets.fast_scans import AFFINE, write_fast_scan

from breastkit.cases import find_problems, read_cases
from breastkit.datasets.qin import prepare_qin
from breastkit.dce.series import find_phases
from breastkit.dicom import list_series, split_times
from breastkit.dicom.write_mr import MrStudy
from breastkit.dicom.write_seg import Segment, write_segmentation
from breastkit.errors import BreastkitError
from breastkit.images import read_volume, write_nifti

SIZE = (24, 20, 6)
TIMES, ARRIVES, STEP_S = 10, 2, 20.0
# Contrast is seen from the fourth volume on; 90 seconds after the third, at 40 s, comes that at 120 or 140 s.
EARLY = (6, 7)


def scan(seed):
    """A lesion that lights up after the third volume, and its mask."""
    (before, after), mask = tiny_study(seed, size=SIZE)
    uptake = [min(1.0, 0.3 * max(0, time - ARRIVES)) for time in range(TIMES)]
    return [(before + share * (after - before)).round().astype(np.int16) for share in uptake], mask


@pytest.fixture(scope="module")
def delivered(tmp_path_factory):
    """Two patients: one of two visits with segmentations, one of one visit without."""
    root = tmp_path_factory.mktemp("QIN")
    for patient, visits in (("BC01", 2), ("BC02", 1)):
        for visit in range(1, visits + 1):
            # The later visit comes first by name.
            folder = root / patient / f"study{9 - visit}"
            study = MrStudy(patient, f"{patient} {visit}", begin=datetime(2020, visit, 1, 9))
            volumes, mask = scan(visit)
            write_fast_scan(folder / "dynamic", volumes, step_s=STEP_S, study=study)
            if patient == "BC01":
                parts, _ = split_times(list_series(folder / "dynamic")[0])
                (folder / "seg").mkdir()
                write_segmentation(folder / "seg" / "seg.dcm", [Segment("breast_lesion", mask)], parts[-1])
    return root


@pytest.fixture(scope="module")
def prepared(delivered, tmp_path_factory):
    out = tmp_path_factory.mktemp("work") / "qin"
    prepare_qin(delivered, out, image_size=64, workers=1)
    return out


def test_phases_are_picked_by_when_contrast_arrives(delivered):
    found = find_phases(delivered / "BC02")
    assert found.pre.description == f"fast time {ARRIVES + 1}"
    assert int(found.posts[0].description.split()[-1]) - 1 in EARLY
    assert found.posts[-1].description == f"fast time {TIMES}"
    assert "check it" in found.doubts[-1]
    # Or as a person says.
    named = find_phases(delivered / "BC02", pre="fast time 1", post="fast time 9")
    assert [one.description for one in named.all] == ["fast time 1", "fast time 9"]


def test_both_visits_are_test_and_masks_lie_where_they_were_drawn(prepared):
    cases = read_cases(prepared)
    assert find_problems(cases) == []
    assert not cases.training and not cases.validation
    assert {item["case"] for item in cases.test} == {"BC01_1", "BC01_2"}
    for visit in (1, 2):
        facts = cases.facts["scans"][f"BC01_{visit}"]
        volumes, mask = scan(visit)
        kept = read_volume(facts["mask"], mask=True)
        np.testing.assert_array_equal(kept.array, mask)
        np.testing.assert_allclose(kept.affine, AFFINE)
        pre, post = (read_volume(path).array for path in facts["phases"])
        np.testing.assert_allclose(pre, volumes[ARRIVES])
        assert any(np.allclose(post, volumes[number]) for number in EARLY)


def test_who_is_left_out_is_said(prepared):
    rows = {row["patient"]: row for row in csv.DictReader((prepared / "curation.csv").open())}
    assert rows["BC01_1"]["kept"] == rows["BC01_2"]["kept"] == "True"
    assert "holds no DICOM segmentation" in rows["BC02_1"]["reason"]


def test_a_second_run_converts_nothing_again(prepared, delivered):
    before = {path: path.stat().st_mtime_ns for path in prepared.rglob("*.nii.gz")}
    (prepared / "studies" / "BC01_2" / "study.json").unlink()
    prepare_qin(delivered, prepared, image_size=64, workers=1)
    changed = {path.parent.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed == {"BC01_2"}
    with pytest.raises(BreastkitError, match="with other options"):
        prepare_qin(delivered, prepared, image_size=96, workers=1)


def test_masks_as_nifti_may_run_another_way(delivered, tmp_path):
    _, mask = scan(1)
    turned = AFFINE @ np.diag([1.0, -1.0, 1.0, 1.0])
    turned[:3, 3] += AFFINE[:3, 1] * (SIZE[1] - 1)
    (tmp_path / "masks").mkdir()
    write_nifti(tmp_path / "masks" / "bc02_1.nii.gz", mask[:, ::-1], turned)
    far = np.array(AFFINE)
    far[:3, 3] += 500
    write_nifti(tmp_path / "masks" / "BC01_1.nii.gz", mask, far)
    prepare_qin(delivered, tmp_path / "out", masks=tmp_path / "masks", image_size=64, workers=1)
    (name, facts), *others = read_cases(tmp_path / "out").facts["scans"].items()
    assert (name, others) == ("BC02_1", [])
    np.testing.assert_array_equal(read_volume(facts["mask"], mask=True).array, mask)
    rows = {row["patient"]: row["reason"] for row in csv.DictReader((tmp_path / "out" / "curation.csv").open())}
    assert "does not lie in" in rows["BC01_1"]
    assert "has no mask" in rows["BC01_2"]


@pytest.mark.parametrize("make", [lambda root: None, lambda root: (root / "BC01").mkdir()])
def test_folders_without_studies(tmp_path, make):
    make(tmp_path)
    with pytest.raises(BreastkitError, match="holds no study"):
        prepare_qin(tmp_path, tmp_path.parent / "out", workers=1)


def test_the_doubts_of_the_choice_are_kept(prepared):
    record = json.loads((prepared / "studies" / "BC01_1" / "study.json").read_text())
    assert "volumes in one series" in record["doubts"][0]
