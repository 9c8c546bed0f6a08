"""The annotation server over a real socket, asked by MONAI Label's reference client as 3D Slicer does."""

import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZipFile

import nibabel
import nrrd
import numpy as np
import pytest
import requests
from pydicom import dcmread
from tests.dicomweb.store_process import store_process
from tests.server.served_app import served

from breastkit.bundle import bundle_folder
from breastkit.dicom.read_seg import read_segmentation
from breastkit.dicom.segment_kinds import SegmentKind
from breastkit.dicom.write_us import write_us_dicom
from breastkit.images import read_mask, write_nifti, write_png
from breastkit.inference.ultrasound import Segmenter
from breastkit.metrics.segmentation import dice
from breastkit.phantoms.mri import write_mri_phantoms
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.server.monailabel_fixes import prepare
from breastkit.weights import read_model_json

prepare()
from monailabel.client import MONAILabelClient  # noqa: E402
from monailabel.client.client import MONAILabelClientException  # noqa: E402

TISSUE, LESION = "breast_mri_tissue_segmentation", "breast_us_lesion_segmentation"
DIAGNOSIS = "breast_us_lesion_classification"
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Not square, so that no exchange of axes can go unseen.
PHANTOM = 1


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """A volume, the same volume stored with other axes, and a picture."""
    folder = tmp_path_factory.mktemp("studies")
    write_mri_phantoms(str(folder / "phantom"), cases=1, seed=3, size=64, workers=1)
    scan = nibabel.load(next((folder / "phantom" / "inference" / "scans").glob("*.nii.gz")))
    truth = nibabel.load(next((folder / "phantom" / "inference" / "masks").glob("*.nii.gz")))
    place = folder / "place"
    write_nifti(place / "axial.nii.gz", np.asarray(scan.dataobj), scan.affine)
    turned = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(scan.affine), nibabel.orientations.axcodes2ornt("SPL")
    )
    turned = scan.as_reoriented(turned)
    write_nifti(place / "deeper" / "turned.nii.gz", np.asarray(turned.dataobj), turned.affine)
    write_png(place / "us.png", make_us_phantom(5, PHANTOM).image)
    write_png(place / "us_mask.png", np.zeros((20, 20), np.uint8))
    return place, truth


@pytest.fixture(scope="module")
def lesion():
    """The mask that the bundle itself gives of the picture."""
    expected, _ = Segmenter()(make_us_phantom(5, PHANTOM).image)
    assert expected.any()
    return expected


@pytest.fixture(scope="module")
def server(studies):
    with served(studies[0]) as (address, services):
        yield address, services


@pytest.fixture
def client(server, tmp_path):
    return MONAILabelClient(server[0], tmpdir=str(tmp_path))


def in_ras(path):
    """Returns a NRRD as an image in nibabel's world, its axes in canonical order."""
    array, header = nrrd.read(path)
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = header["space directions"].T, header["space origin"]
    return nibabel.as_closest_canonical(nibabel.Nifti1Image(array, LPS @ lps))


def test_bundles_with_weights_are_models_with_type_labels_and_colours(client):
    info = client.info()
    assert info["models"][TISSUE] | {"description": ""} == {
        "type": "segmentation",
        "labels": {"breast": 1},
        "dimension": 3,
        "modality": "MR",
        "description": "",
        "config": {},
        "label_colors": {"breast": list(SegmentKind.BREAST.codes.colour)},
        "version": "0.2.0",
    }
    assert info["models"][LESION]["labels"] == {"lesion": 1}
    assert set(info["strategies"]) >= {"first", "random"}
    assert info["datastore"]["total"] == 3


def test_masks_are_no_images(client):
    assert set(client.datastore()["objects"]) == {"axial", "turned", "us"}


def test_mri_is_outlined_on_its_own_grid_however_it_is_stored(client, studies):
    truth = nibabel.as_closest_canonical(studies[1])
    masks = []
    for name in ("axial", "turned"):
        path, says = client.infer(TISSUE, name, {})
        assert says["label_names"] == {"breast": 1}
        found = in_ras(path)
        np.testing.assert_allclose(found.affine, truth.affine, atol=1e-3)
        masks.append(np.asarray(found.dataobj) > 0)
        assert dice(masks[-1], np.asarray(truth.dataobj) > 0) > 0.5
        # Turned by any axis it would fit worse.
        assert dice(masks[-1][:, ::-1], np.asarray(truth.dataobj) > 0) < dice(masks[-1], np.asarray(truth.dataobj) > 0)
    assert dice(*masks) > 0.9


def test_nifti_comes_back_as_nifti(client, studies):
    path, _ = client.infer(TISSUE, "turned", {"result_extension": ".nii.gz"})
    source = nibabel.load(studies[0] / "deeper" / "turned.nii.gz")
    found = nibabel.load(path)
    assert found.shape == source.shape
    np.testing.assert_allclose(found.affine, source.affine, atol=1e-3)


def test_a_picture_is_outlined_pixel_by_pixel(client, lesion):
    path, _ = client.infer(LESION, "us", {"result_extension": ".png"})
    array = read_mask(path)
    np.testing.assert_array_equal(array > 0, lesion)
    path, _ = client.infer(LESION, "us", {})
    array, header = nrrd.read(path)
    np.testing.assert_array_equal(array[:, :, 0].T > 0, lesion)
    np.testing.assert_array_equal(header["space directions"], np.eye(3))


def test_a_lent_image_is_read_in_a_session_and_sent_along(client, studies):
    picture = str(studies[0] / "us.png")
    lent = client.create_session(picture)["session_id"]
    first, _ = client.infer(LESION, "", {"result_extension": ".png"}, session_id=lent)
    first = read_mask(first)
    assert client.get_session(lent)
    client.remove_session(lent)
    with pytest.raises(MONAILabelClientException):
        client.get_session(lent)
    second, _ = client.infer(LESION, "", {"result_extension": ".png"}, file=picture)
    np.testing.assert_array_equal(read_mask(second), first)


def test_a_model_of_pictures_refuses_a_volume_with_a_sentence(server):
    answer = requests.post(f"{server[0]}/infer/{LESION}?image=axial", data={"params": "{}"})
    assert answer.status_code == 400
    assert "choose another model" in answer.json()["detail"]


def test_images_are_downloaded_as_they_are(server, studies):
    answer = requests.get(f"{server[0]}/datastore/image?image=us")
    assert answer.content == (studies[0] / "us.png").read_bytes()


def test_others_are_answered_while_one_computes_and_too_many_are_sent_away(server, monkeypatch):
    address, services = server
    queue = services.queue
    monkeypatch.setattr(queue, "waiting", 1)
    begun, may_end = threading.Event(), threading.Event()
    holder = threading.Thread(target=queue.run, args=(lambda: (begun.set(), may_end.wait(120)),))
    holder.start()
    assert begun.wait(60)

    def infer():
        return requests.post(f"{address}/infer/{LESION}?image=us&output=json", data={"params": "{}"})

    try:
        with ThreadPoolExecutor(2) as pool:
            two = [pool.submit(infer), pool.submit(infer)]
            # One waits for its turn, so the other is sent away; meanwhile everything else is answered.
            while not any(one.done() for one in two):
                assert requests.get(f"{address}/info/").status_code == 200
            may_end.set()
            answers = sorted((one.result() for one in two), key=lambda one: one.status_code)
    finally:
        may_end.set()
        holder.join()
    assert [one.status_code for one in answers] == [200, 503]
    assert int(answers[1].headers["Retry-After"]) > 0


def test_small_pictures_of_several_clients_run_together_and_each_gets_its_own(server, lesion, monkeypatch, tmp_path):
    address, services = server
    model, counts = services.models[LESION], []
    run_all = model.opened()[0].run_all
    monkeypatch.setattr(model.opened()[0], "run_all", lambda some: (counts.append(len(some)), run_all(some))[1])
    # Of different sizes; the last is too large to wait for its turn with others.
    sizes = {"a.png": (300, 410), "b.png": (220, 500), "c.png": (1100, 1000)}
    pictures = {name: make_us_phantom(5, 2, size=size).image for name, size in sizes.items()}
    for name, picture in pictures.items():
        write_png(tmp_path / name, picture)
    begun, may_end = threading.Event(), threading.Event()
    holder = threading.Thread(target=services.queue.run, args=(lambda: (begun.set(), may_end.wait(120)),))
    holder.start()
    assert begun.wait(60)

    def infer(name):
        options = {"params": '{"result_extension": ".png"}'}
        sent = {"files": {"file": (name, (tmp_path / name).read_bytes())}} if name in sizes else {}
        where = f"{address}/infer/{LESION}?output=image" + ("" if sent else f"&image={name}")
        (tmp_path / f"mask of {name}.png").write_bytes(requests.post(where, data=options, **sent).content)
        return read_mask(tmp_path / f"mask of {name}.png") > 0

    try:
        with ThreadPoolExecutor(4) as pool:
            answers = {}
            # The large one comes last: those behind it would wait for it.
            for names in (("us", "a.png", "b.png"), ("c.png",)):
                answers |= {name: pool.submit(infer, name) for name in names}
                while sum(map(len, services.queue._queues.values())) < len(answers):
                    assert not any(answer.done() for answer in answers.values())
                    time.sleep(0.01)
            may_end.set()
            masks = {name: answer.result() for name, answer in answers.items()}
    finally:
        may_end.set()
        holder.join()
    assert sorted(counts) == [1, 3]
    expected = {"us": lesion} | {name: Segmenter()(picture)[0] for name, picture in pictures.items()}
    for name, mask in masks.items():
        assert expected[name].any()
        np.testing.assert_array_equal(mask, expected[name])


@pytest.fixture(scope="module")
def dicom_studies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dicom")
    write_mri_phantoms(str(folder / "mri"), cases=1, seed=3, size=64, dicom=True, workers=1)
    picture = make_us_phantom(5, PHANTOM)
    write_us_dicom(folder / "us.dcm", picture.image, spacing=picture.spacing, patient="US", uid_seed="server test")
    return folder


@pytest.fixture(scope="module")
def dicom_server(dicom_studies, tmp_path_factory):
    with served(dicom_studies, conf={"labels": str(tmp_path_factory.mktemp("labels"))}) as (address, services):
        yield address, services


def series_of(address, modality):
    objects = requests.get(f"{address}/datastore/?output=all").json()["objects"]
    return {name: one["image"]["info"] for name, one in objects.items() if one["image"]["info"]["Modality"] == modality}


def segmentation_of(address, model, image, path):
    answer = requests.post(f"{address}/infer/{model}?image={image}&output=dicom_seg", data={"params": "{}"})
    assert answer.status_code == 200, answer.text
    path.write_bytes(answer.content)
    return path


def test_dicom_of_both_kinds_is_listed(dicom_server):
    address, _ = dicom_server
    assert len(series_of(address, "MR")) == 5
    assert len(series_of(address, "US")) == 1
    studies = requests.get(f"{address}/dicom-web/studies", headers={"Accept": "application/dicom+json"}).json()
    assert {one["00080061"]["Value"][0] for one in studies} == {"MR", "US"}


def test_an_ultrasound_picture_is_reported_with_its_objects(dicom_server, client):
    address, _ = dicom_server
    (image,) = series_of(address, "US")
    answer = requests.post(f"{address}/infer/{DIAGNOSIS}?image={image}&output=report", data={"params": "{}"})
    assert answer.status_code == 200, answer.text
    with ZipFile(io.BytesIO(answer.content)) as archive:
        names = archive.namelist()
        (study,) = {dcmread(io.BytesIO(archive.read(name))).StudyInstanceUID for name in names if name[-4:] == ".dcm"}
        (picture,) = json.loads(archive.read("findings.json"))["pictures"]
    kinds = ("report", "report_pdf", "segmentation")
    assert names == [*(f"dicom/us_{kind}.dcm" for kind in kinds), "findings.json", "report.html", "report.pdf"]
    assert study == series_of(address, "US")[image]["StudyInstanceUID"]
    says = requests.post(f"{address}/infer/{DIAGNOSIS}?image={image}&output=json", data={"params": "{}"}).json()
    assert picture["class"] == says["prediction"]
    # Of an image that is no DICOM there is a report alone.
    answer = requests.post(f"{client._server_url}/infer/{DIAGNOSIS}?image=us&output=report", data={"params": "{}"})
    with ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["findings.json", "report.html", "report.pdf"]


def test_a_series_is_outlined_as_a_segmentation_in_its_place(dicom_server, dicom_studies, tmp_path):
    address, _ = dicom_server
    image = next(
        name for name, info in series_of(address, "MR").items() if info["SeriesDescription"].endswith("post 1")
    )
    path = segmentation_of(address, TISSUE, image, tmp_path / "seg.dcm")
    folder = dicom_studies / "mri" / "case_001" / "post_1"
    (segment,) = read_segmentation(path, folder)
    assert segment.kind is SegmentKind.BREAST
    assert segment.algorithm == TISSUE
    facts = read_model_json(Path(bundle_folder(TISSUE), "models"))
    assert segment.version == facts["sha256"]
    answer = requests.post(f"{address}/infer/{TISSUE}?image={image}&output=image", data={"params": "{}"})
    (tmp_path / "label.nrrd").write_bytes(answer.content)
    labels, _ = nrrd.read(str(tmp_path / "label.nrrd"))
    np.testing.assert_array_equal(labels > 0, segment.mask > 0)
    assert dice(in_ras(tmp_path / "label.nrrd").get_fdata() > 0, truth_of(dicom_studies)) > 0.6


def truth_of(folder):
    truth = nibabel.load(next((folder / "mri" / "truth" / "breast").glob("*.nii.gz")))
    return nibabel.as_closest_canonical(truth).get_fdata() > 0


def test_an_ultrasound_object_is_outlined_as_a_segmentation(dicom_server, dicom_studies, lesion, tmp_path):
    address, _ = dicom_server
    (image,) = series_of(address, "US")
    path = segmentation_of(address, LESION, image, tmp_path / "seg.dcm")
    (segment,) = read_segmentation(path, dicom_studies / "us.dcm")
    np.testing.assert_array_equal(segment.mask > 0, lesion)


def test_a_dicomweb_address_is_a_store_too(dicom_studies, lesion, tmp_path):
    only_us = tmp_path / "us"
    only_us.mkdir()
    (only_us / "us.dcm").write_bytes((dicom_studies / "us.dcm").read_bytes())
    with (
        store_process(only_us, tmp_path / "stored") as pacs,
        served(pacs, conf={"labels": str(tmp_path / "labels")}) as (address, _),
    ):
        (image,) = series_of(address, "US")
        mask = requests.post(
            f"{address}/infer/{LESION}?image={image}&output=image", data={"params": '{"result_extension": ".png"}'}
        )
        (tmp_path / "mask.png").write_bytes(mask.content)
        np.testing.assert_array_equal(read_mask(tmp_path / "mask.png") > 0, lesion)
        label = {"label": ("label.png", io.BytesIO((tmp_path / "mask.png").read_bytes()))}
        saved = requests.put(f"{address}/datastore/label?image={image}", files=label, data={"params": "{}"})
        assert saved.status_code == 200, saved.text
        assert requests.get(f"{address}/datastore/").json()["completed"] == 1
        headers = {"Accept": "application/dicom+json"}
        (stored,) = requests.get(f"{pacs}/series?Modality=SEG", headers=headers).json()
        assert stored["00080060"]["Value"] == ["SEG"]
