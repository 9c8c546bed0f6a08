"""The layout of a dynamic study, and the subtraction that is made for it: seen by viewers, in nobody's folder."""

import numpy as np
import pydicom
import pytest
import requests
from tests.dicom.conformance import errors_of, needs_dciodvfy
from tests.dicomweb.store_process import store_process
from tests.server.served_app import served
from tests.server.viewed_studies import JSON, write_picture

from breastkit.dicom import list_series, read_series
from breastkit.phantoms.mri import write_mri_phantoms


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hung")
    write_mri_phantoms(str(folder / "mri"), cases=1, seed=3, size=48, dicom=True, workers=1)
    write_picture(folder / "us.dcm")
    return folder


@pytest.fixture(scope="module")
def phases(studies):
    """The phases in their order, as series of the folder."""
    return sorted(list_series(studies / "mri" / "case_001"), key=lambda one: one.time)


def files_in(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def layout_of(server, phases):
    return requests.get(f"{server}/datastore/layout?study={phases[0].study}", timeout=120).json()


def series_of(server, study):
    listed = requests.get(f"{server}/dicom-web/studies/{study}/series", headers=JSON, timeout=60).json()
    return {one["0020000E"]["Value"][0]: one for one in listed}


def image_of(server, study, series, number=0):
    """Returns an image of a series as a viewer reads it: header and pixels."""
    place = f"{server}/dicom-web/studies/{study}/series/{series}"
    header = requests.get(f"{place}/metadata", headers=JSON, timeout=60).json()[number]
    uid = header["00080018"]["Value"][0]
    answer = requests.get(f"{place}/instances/{uid}", headers={"Accept": "application/dicom"}, timeout=60)
    assert answer.status_code == 200
    return answer.content


def test_the_subtraction_is_listed_in_its_study_and_nothing_is_written_to_it(studies, phases, tmp_path):
    before, study = files_in(studies), phases[0].study
    with served(studies, conf={"labels": str(tmp_path / "labels")}) as (server, _):
        assert len(series_of(server, study)) == len(phases)
        layout = layout_of(server, phases)
        assert layout["phases"] == [one.uid for one in phases]
        listed = series_of(server, study)
        assert list(listed)[-2:] == [layout["subtraction"], layout["projection"]]
        assert listed[layout["subtraction"]]["0008103E"]["Value"] == ["Subtraction"]
        # Nothing to annotate, nothing that a model is asked of.
        assert set(requests.get(f"{server}/datastore/?output=all", timeout=60).json()["objects"]).isdisjoint(
            {layout["subtraction"], layout["projection"]}
        )
        for number in (0, 11):
            (tmp_path / "one.dcm").write_bytes(image_of(server, study, layout["subtraction"], number))
            one = pydicom.dcmread(tmp_path / "one.dcm")
            height = float(one.ImagePositionPatient[2])
            planes = [slice_at(series, height) for series in phases[:2]]
            np.testing.assert_array_equal(one.pixel_array, planes[1].astype(int) - planes[0])
            assert one.ImageType[0] == "DERIVED"
    assert files_in(studies) == before


def slice_at(series, height):
    for path in series.files:
        image = pydicom.dcmread(path)
        if abs(float(image.ImagePositionPatient[2]) - height) < 1e-6:
            return image.pixel_array
    raise AssertionError(height)


def test_another_server_keeps_what_it_has(studies, phases, tmp_path):
    study = phases[0].study
    with (
        store_process(studies, tmp_path / "stored") as pacs,
        served(pacs, conf={"labels": str(tmp_path / "labels")}) as (server, _),
    ):
        layout = layout_of(server, phases)
        assert layout["subtraction"] in series_of(server, study)
        assert image_of(server, study, layout["projection"])
        there = requests.get(f"{pacs}/studies/{study}/series", headers=JSON, timeout=60).json()
        assert len(there) == len(phases)


def test_what_is_no_dynamic_study_has_no_phases(studies, phases, tmp_path):
    with served(studies, conf={"labels": str(tmp_path / "labels")}) as (server, _):
        objects = requests.get(f"{server}/datastore/?output=all", timeout=60).json()["objects"]
        (study,) = {one["image"]["info"]["StudyInstanceUID"] for one in objects.values()} - {phases[0].study}
        none = {"phases": [], "subtraction": "", "projection": "", "doubts": []}
        assert requests.get(f"{server}/datastore/layout?study={study}", timeout=60).json() == none
        unknown = requests.get(f"{server}/datastore/layout?study=1.2.3", timeout=60)
        assert (unknown.status_code, unknown.json()["detail"][:22]) == (400, "There is no study '1.2")


@needs_dciodvfy
def test_the_derived_images_are_as_dicom_wants_them(studies, phases, tmp_path):
    from breastkit.dicom.write_subtraction import write_subtraction

    folder = write_subtraction(tmp_path / "made", *phases[:2])
    assert errors_of(folder / "0001.dcm") == []
    assert errors_of(folder / "projection.dcm") == []
    slices = read_series(next(one for one in list_series(folder) if one.images > 1))
    projection = pydicom.dcmread(folder / "projection.dcm").pixel_array
    np.testing.assert_array_equal(slices.array.max(axis=2).T, projection)
    np.testing.assert_allclose(slices.affine, read_series(phases[1]).affine, atol=1e-6)
