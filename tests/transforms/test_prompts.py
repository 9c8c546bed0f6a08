import numpy as np

from breastkit.transforms.prompts import Click, prompt_planes


def test_clicks_are_marks_where_they_lie_each_in_its_plane():
    previous = np.zeros((40, 50), np.float32)
    previous[3:9, 4:7] = 0.7
    planes = prompt_planes([Click(10, 20), Click(30, 5, inside=False), Click(12, 45)], previous)
    assert planes.shape == (3, 40, 50) and planes.dtype == np.float32
    assert planes[0, 10, 20] == planes[0, 12, 45] == planes[1, 30, 5] == 1
    assert planes[0, 30, 5] < 1e-3 and planes[1, 10, 20] < 1e-3
    assert np.array_equal(planes[2], previous)
    # A mark is round and falls off.
    assert planes[0, 10, 23] == planes[0, 13, 20] < planes[0, 10, 21] < 1


def test_clicks_at_the_border_and_between_pixels_are_marks_too():
    planes = prompt_planes([Click(0, 0), Click(39.5, 49.5)], np.zeros((40, 50)))
    assert planes[0, 0, 0] == 1
    assert 0.9 < planes[0, 39, 49] < 1
    assert not planes[1:].any()
