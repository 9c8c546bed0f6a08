import nibabel
import pytest

from benchmarks.prepare import bench_preparation, prepare, write_patients
from breastkit.errors import UsageError


def test_patients_of_a_few_phantoms_are_prepared_and_watched(tmp_path):
    write_patients(tmp_path / "set", 4, shape=(48, 48, 16))
    image = nibabel.load(tmp_path / "set/images/DUKE_004/duke_004_0001.nii.gz")
    assert image.shape == (48, 48, 16)
    assert len(list((tmp_path / "set/segmentations/expert").iterdir())) == 4
    done = prepare(tmp_path, 4, workers=1)
    # Every slice that is not empty is kept.
    assert done.patients == 4
    assert 48 <= done.slices <= 64
    assert 0.5 < done.cpu_s < 600
    # A Python process with numpy holds tens of MiB, and this one no GiB.
    assert 20 < done.peak_mib < 4096


def test_too_few_patients_say_nothing():
    with pytest.raises(UsageError, match="too few"):
        bench_preparation(patients=3)
