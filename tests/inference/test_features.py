import numpy as np

from breastkit.inference import measure_candidate


def test_size_and_intensities_are_those_of_the_candidate():
    scan = np.zeros((4, 4, 4), dtype=np.int16)
    candidate = np.zeros(scan.shape, dtype=bool)
    candidate[1, 1, 1:4] = True
    scan[1, 1, 1:4] = 10, 20, 60
    scan[0] = 999
    row = measure_candidate(scan, candidate, voxel_mm3=2.5)
    assert row == {"volume_voxels": 3, "volume_mm3": 7.5, "mean_intensity": 30, "max_intensity": 60}


def test_no_candidate_is_a_row_of_zeros():
    row = measure_candidate(np.ones((3, 3, 3)), np.zeros((3, 3, 3)), voxel_mm3=1)
    assert row == dict.fromkeys(("volume_voxels", "volume_mm3", "mean_intensity", "max_intensity"), 0)
