"""MR series written, read back, compared."""

import numpy as np
import pydicom
import pytest

from breastkit.dicom import list_series, read_series
from breastkit.dicom.write_mr import MrStudy, write_mr_series
from breastkit.errors import BreastkitError

STUDY = MrStudy(patient_id="P1", uid_source="test study", age_years=51)


def volume(shape=(9, 7, 5)) -> np.ndarray:
    return np.random.default_rng(0).integers(-5, 900, shape).astype(np.int16)


def oblique() -> np.ndarray:
    rotation = np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = rotation * [0.8, 1.1, 2.5]
    affine[:3, 3] = [-91.25, 12.5, 1 / 3]
    return affine


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, 1, -1), (-1, 1, 1)])
def test_read_back_gives_the_same_array_and_affine(tmp_path, signs):
    array, affine = volume(), oblique() @ np.diag([*signs, 1])
    write_mr_series(tmp_path / "s", array, affine, STUDY, number=3, description="ax dyn pre")
    read = read_series(tmp_path / "s")
    np.testing.assert_array_equal(read.array, array)
    np.testing.assert_allclose(read.affine, affine, atol=1e-6)


def test_headers_of_a_dynamic_study(tmp_path):
    for number, start in ((1, 0.0), (2, 95.5)):
        folder = tmp_path / f"{number}"
        write_mr_series(
            folder,
            volume(),
            oblique(),
            STUDY,
            number=number,
            description=f"dyn {number}",
            start_s=start,
            contrast=start > 0,
        )
    first, second = list_series(tmp_path)
    assert (first.description, second.description) == ("dyn 1", "dyn 2")
    assert first.study == second.study and first.uid != second.uid
    assert (first.time, second.time) == ("090000.000000", "090135.500000")
    headers = [pydicom.dcmread(p) for p in sorted(tmp_path.rglob("*.dcm"))]
    assert len({h.SOPInstanceUID for h in headers}) == 10
    assert len({h.FrameOfReferenceUID for h in headers}) == 1
    assert ["ContrastBolusAgent" in h for h in headers] == [False] * 5 + [True] * 5


def test_written_twice_is_the_same(tmp_path):
    for name in "ab":
        write_mr_series(tmp_path / name, volume(), oblique(), STUDY, number=1, description="x")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_every_decimal_fits_dicom(tmp_path):
    affine = oblique()
    affine[:3, 3] = [-1234.123456789012345, 1e-17, 99.99999999999999]
    write_mr_series(tmp_path / "s", volume(), affine, STUDY, number=1, description="x")
    for path in (tmp_path / "s").iterdir():
        header = pydicom.dcmread(path)
        for element in header:
            if element.VR == "DS":
                values = element.value if element.VM > 1 else [element.value]
                assert all(len(str(v)) <= 16 for v in values)


@pytest.mark.parametrize(
    ("array", "affine", "words"),
    [
        (volume().astype(np.float32), np.eye(4), "whole numbers"),
        (volume().astype(np.int32) + 40_000, np.eye(4), "16-bit"),
        (volume()[0], np.eye(4), "3D"),
        (volume(), np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "perpendicular"),
        (volume(), np.zeros((4, 4)), "perpendicular"),
    ],
)
def test_what_has_no_place_in_dicom_gets_a_sentence(tmp_path, array, affine, words):
    with pytest.raises(BreastkitError, match=words):
        write_mr_series(tmp_path / "s", array, affine, STUDY, number=1, description="x")
    assert not list(tmp_path.iterdir())
