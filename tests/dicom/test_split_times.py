"""Series that hold a volume several times over are taken apart by what their headers say."""

import numpy as np
import pytest
from tests.datasets.fast_scans import AFFINE, write_fast_scan

from breastkit.dicom import list_series, read_series, seconds_between, split_times
from breastkit.dicom.write_mr import MrStudy, write_mr_series
from breastkit.errors import BreastkitError

VOLUMES = [np.full((6, 5, 4), 10 * time, np.int16) + np.arange(4, dtype=np.int16) for time in range(1, 4)]


@pytest.mark.parametrize("mark", ["AcquisitionTime", "TemporalPositionIdentifier", "AcquisitionNumber", "TriggerTime"])
def test_times_are_told_apart(tmp_path, mark):
    write_fast_scan(tmp_path, VOLUMES, marks=(mark,))
    (series,) = list_series(tmp_path)
    parts, said = split_times(series)
    assert said == ()
    assert [one.description for one in parts] == ["fast time 1", "fast time 2", "fast time 3"]
    for part, volume in zip(parts, VOLUMES, strict=True):
        image = read_series(part)
        np.testing.assert_array_equal(image.array, volume)
        np.testing.assert_allclose(image.affine, AFFINE)


def test_the_clock_goes_on(tmp_path):
    write_fast_scan(tmp_path, VOLUMES, step_s=18.0, marks=("AcquisitionTime",))
    parts, _ = split_times(list_series(tmp_path)[0])
    assert [seconds_between(parts[0], one) for one in parts] == pytest.approx([0, 18, 36])


def test_a_volume_that_was_cut_short_is_left_out_and_said(tmp_path):
    write_fast_scan(tmp_path, VOLUMES, marks=("AcquisitionTime",))
    sorted(tmp_path.glob("*.dcm"))[-1].unlink()
    parts, (said,) = split_times(list_series(tmp_path)[0])
    assert len(parts) == 2
    assert "1 of 3 volumes" in said


def test_one_volume_stays_as_it_is(tmp_path):
    write_mr_series(tmp_path / "a", VOLUMES[0], AFFINE, MrStudy("p", "u"), number=1, description="one")
    (series,) = list_series(tmp_path / "a")
    assert split_times(series) == ((series,), ())


def test_doubled_files_are_no_times(tmp_path):
    write_fast_scan(tmp_path, [VOLUMES[0], VOLUMES[0]], marks=())
    with pytest.raises(BreastkitError, match="no header tells apart"):
        split_times(list_series(tmp_path)[0])
