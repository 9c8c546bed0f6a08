"""Models of lesions in dynamic breast MRI over a real socket: which studies they read, and where their answers lie."""

import json
import shutil
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import nibabel
import nrrd
import numpy as np
import pytest
import requests
from pydicom import dcmread
from tests.server.served_app import served

from breastkit.bundle import bundle_folder
from breastkit.dce.phases import read_phases
from breastkit.dce.series import find_phases
from breastkit.dce.voxel_box import Grid, VoxelBox
from breastkit.dicom.read_seg import read_segmentation
from breastkit.dicom.segment_kinds import SegmentKind
from breastkit.images import write_nifti
from breastkit.metrics.segmentation import dice
from breastkit.phantoms.mri import write_mri_phantoms
from breastkit.pipelines.mri import run_mri
from breastkit.server.models.box_markups import placed
from breastkit.server.models.model_list import find_models, why_not_served
from breastkit.server.monailabel_fixes import prepare
from breastkit.weights import read_model_json

prepare()
from monailabel.client import MONAILabelClient  # noqa: E402

CHAIN, DETECTOR, SEGMENTER = "breast_mri_lesions", "breast_mri_lesion_detection", "breast_mri_lesion_segmentation"
TISSUE = "breast_mri_tissue_segmentation"
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study as DICOM, one lesion in it, off every middle; rows run upwards and slices downwards."""
    folder = tmp_path_factory.mktemp("mri")
    write_mri_phantoms(str(folder), cases=1, seed=1, size=96, dicom=True, workers=1)
    return folder


@pytest.fixture(scope="module")
def truth(study):
    mask = nibabel.load(study / "truth" / "lesions" / "case_001.nii.gz")
    assert nibabel.aff2axcodes(mask.affine) == ("L", "A", "I")
    return mask


@pytest.fixture(scope="module")
def place(study, tmp_path_factory):
    """The study as NIfTI, once more with its axes in another order, and a phase alone."""
    folder = tmp_path_factory.mktemp("place")
    phases = read_phases(find_phases(study / "case_001").all[:2])
    for number, phase in enumerate(phases.arrays):
        image = nibabel.Nifti1Image(phases.restore(phase), phases.affine)
        write_nifti(folder / "study" / f"own_{number:04d}.nii.gz", np.asarray(image.dataobj), image.affine)
        order = nibabel.orientations.axcodes2ornt("SPL")
        turned = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), order))
        write_nifti(folder / f"turned_{number:04d}.nii.gz", np.asarray(turned.dataobj), turned.affine)
    shutil.copy(folder / "turned_0001.nii.gz", folder / "alone_0001.nii.gz")
    return folder


@pytest.fixture(scope="module")
def server(place):
    with served(place) as (address, services):
        yield address, services


@pytest.fixture
def client(server, tmp_path):
    return MONAILabelClient(server[0], tmpdir=str(tmp_path))


@pytest.fixture(scope="module")
def commanded(study, tmp_path_factory):
    """What the command line writes of the study."""
    out = tmp_path_factory.mktemp("chain")
    run_mri(str(study / "case_001"), out=str(out))
    return out


@pytest.fixture(scope="module")
def expected(commanded):
    """The lesions that the command line outlines, in canonical axes."""
    return in_ras(nibabel.load(commanded / "lesions.nii.gz"))


def in_ras(image):
    return np.asarray(nibabel.as_closest_canonical(image).dataobj) > 0


def nrrd_in_ras(path):
    array, header = nrrd.read(str(path))
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = header["space directions"].T, header["space origin"]
    return in_ras(nibabel.Nifti1Image(array, LPS @ lps))


def test_they_are_listed_with_their_kinds(client):
    models = client.info()["models"]
    kinds = {name: models[name]["type"] for name in (CHAIN, DETECTOR, SEGMENTER)}
    assert kinds == {CHAIN: "segmentation", DETECTOR: "detection", SEGMENTER: "segmentation"}
    assert all(models[name]["labels"] == {"lesion": 1} and models[name]["dimension"] == 3 for name in kinds)
    assert models[CHAIN]["label_colors"] == {"lesion": list(SegmentKind.BREAST_LESION.codes.colour)}


def test_the_chain_outlines_as_the_command_does(client, expected, truth):
    path, says = client.infer(CHAIN, "own_0001", {})
    np.testing.assert_array_equal(nrrd_in_ras(path), expected)
    assert says["phases"] == ["own_0000.nii.gz", "own_0001.nii.gz"]
    assert len(says["box"]) == len(says["label_scores"]) == len(says["lesions"]) > 0
    lesion = in_ras(truth)
    assert np.count_nonzero(expected & lesion) > np.count_nonzero(lesion) / 2


def test_axes_in_another_order_come_back_so_and_show_the_same(client, place, expected):
    path, _ = client.infer(CHAIN, "turned_0001", {"result_extension": ".nii.gz"})
    source, found = nibabel.load(place / "turned_0001.nii.gz"), nibabel.load(path)
    assert found.shape == source.shape
    np.testing.assert_allclose(found.affine, source.affine, atol=1e-3)
    assert dice(in_ras(found), expected) > 0.95


def test_boxes_are_regions_for_3d_slicer(client, truth, tmp_path):
    path, says = client.infer(DETECTOR, "turned_0000", {})
    regions = json.loads(Path(path).read_text())["markups"]
    assert [region["center"] + region["size"] for region in regions] == says["box"]
    assert set(says["label"]) == {1}
    assert says["label_scores"] == sorted(says["label_scores"], reverse=True)
    first = regions[0]
    assert (first["type"], first["coordinateSystem"], first["name"]) == ("ROI", "LPS", "lesion 1")
    # In the box's own axes, the middle of the true lesion lies within half the size.
    middle = np.argwhere(np.asarray(truth.dataobj) > 0).mean(axis=0)
    world = (LPS @ truth.affine @ [*middle, 1])[:3]
    axes = np.reshape(first["orientation"], (3, 3))
    assert np.linalg.det(axes) == pytest.approx(1)
    assert (np.abs(axes.T @ (world - first["center"])) <= np.array(first["size"]) / 2).all()


def test_a_box_encloses_its_voxels_however_the_image_lies():
    affine = np.eye(4)
    turn = np.deg2rad(30)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    affine[:3, :3] = affine[:3, :3] @ np.diag([1.0, 2.0, -3.0])
    affine[:3, 3] = (5.0, 6.0, 7.0)
    box = placed(VoxelBox((2, 1, 3), (4, 1, 6), Grid((8, 8, 8), affine)))
    corners = np.array([[c, r, s, 1] for c in (1.5, 4.5) for r in (0.5, 1.5) for s in (2.5, 6.5)])
    world = (LPS @ affine @ corners.T).T[:, :3]
    own = np.abs((world - box.center) @ box.axes)
    np.testing.assert_allclose(own, np.tile(np.array(box.size) / 2, (8, 1)), atol=1e-3)
    assert box.size == (3.0, 2.0, 12.0)


def test_the_segmenter_alone_outlines_what_is_found(client, expected):
    path, _ = client.infer(SEGMENTER, "own_0001", {})
    found = nrrd_in_ras(path)
    assert found.shape == expected.shape
    assert np.count_nonzero(found & expected) > np.count_nonzero(expected) / 2


def refusal(address, model, image, query=""):
    answer = requests.post(f"{address}/infer/{model}?image={image}{query}", data={"params": "{}"})
    assert answer.status_code in (400, 404)
    return answer.json()["detail"]


def test_what_cannot_be_read_is_said(server):
    address = server[0]
    for model in (CHAIN, DETECTOR, SEGMENTER):
        assert "'alone_0001' is a single phase" in refusal(address, model, "alone_0001")
    assert "boxes, not with a mask" in refusal(address, DETECTOR, "own_0000", "&output=dicom_seg")
    assert "transunet_small has no weights" in refusal(address, f"{SEGMENTER}_transunet_small", "own_0000")
    assert "no such model" in refusal(address, "nothing", "own_0000")


def test_each_can_be_trained_but_the_chain_and_says_what_it_needs(server):
    address = server[0]
    trainers = requests.get(f"{address}/info/").json()["trainers"]
    needs = {DETECTOR: "at least two studies", SEGMENTER: "at least two studies", TISSUE: "at least two volumes"}
    assert set(needs) <= set(trainers)
    assert CHAIN not in trainers
    for model, words in needs.items():
        answer = requests.post(f"{address}/train/{model}", json={})
        assert (answer.status_code, words in answer.json()["detail"]) == (400, True), answer.text


def test_an_architecture_appears_where_its_weights_are(tmp_path):
    for name in (SEGMENTER, DETECTOR, TISSUE):
        shutil.copytree(bundle_folder(name), tmp_path / name)
    before = find_models(tmp_path)
    # Any weights do: nothing is loaded to list a model.
    shutil.copytree(tmp_path / SEGMENTER / "models", tmp_path / "models")
    shutil.move(tmp_path / "models", tmp_path / SEGMENTER / "models" / "transunet_small")
    after = find_models(tmp_path)
    assert set(after) - set(before) == {f"{SEGMENTER}_transunet_small"}
    own, detector = after[f"{SEGMENTER}_transunet_small"].weights()
    assert (own.parent.name, detector.parents[1].name) == ("transunet_small", DETECTOR)
    assert CHAIN in before
    assert "put model.pt" in why_not_served(f"{SEGMENTER}_attention_unet_small", tmp_path)
    (default,) = (read_model_json(tmp_path / SEGMENTER / "models")["architecture"],)
    assert why_not_served(f"{SEGMENTER}_{default}", tmp_path).endswith("ask for that.")


@pytest.fixture(scope="module")
def dicom_server(study, tmp_path_factory):
    with served(study / "case_001", conf={"labels": str(tmp_path_factory.mktemp("labels"))}) as (address, _):
        yield address


def test_a_dicom_study_is_read_from_any_of_its_phases(dicom_server, study, expected, truth, tmp_path):
    objects = requests.get(f"{dicom_server}/datastore/?output=all").json()["objects"]
    last = next(name for name, one in objects.items() if one["image"]["info"]["SeriesDescription"].endswith("post 4"))
    answer = requests.post(f"{dicom_server}/infer/{CHAIN}?image={last}&output=dicom_seg", data={"params": "{}"})
    assert answer.status_code == 200, answer.text
    (tmp_path / "seg.dcm").write_bytes(answer.content)
    (segment,) = read_segmentation(tmp_path / "seg.dcm", study / "case_001" / "post_4")
    assert (segment.kind, segment.algorithm) == (SegmentKind.BREAST_LESION, CHAIN)
    assert segment.version == read_model_json(bundle_folder(SEGMENTER) + "/models")["sha256"]
    says = requests.post(f"{dicom_server}/infer/{DETECTOR}?image={last}&output=json", data={"params": "{}"}).json()
    assert [name.rpartition(" dyn ")[2] for name in says["phases"]] == ["pre", "post 1"]
    # The truth is stored on the grid that the series has.
    np.testing.assert_array_equal(in_ras(nibabel.Nifti1Image(segment.mask.astype(np.uint8), truth.affine)), expected)


def coded(segment):
    """How a segment of a segmentation is coded, but for its side."""
    region = segment.AnatomicRegionSequence[0].CodeValue if "AnatomicRegionSequence" in segment else ""
    type_ = segment.SegmentedPropertyTypeCodeSequence[0]
    return segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue, type_.CodeValue, type_.CodeMeaning, region


def test_segmentation_report_and_page_are_what_the_command_writes(dicom_server, study, commanded, tmp_path):
    objects = requests.get(f"{dicom_server}/datastore/?output=all").json()["objects"]
    last = next(name for name, one in objects.items() if one["image"]["info"]["SeriesDescription"].endswith("post 4"))
    ask = f"{dicom_server}/infer/{CHAIN}?image={last}"
    answer = requests.post(f"{ask}&output=report", data={"params": "{}"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip"), answer.text
    with ZipFile(BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert files == [
        *("dicom/report.dcm", "dicom/report_pdf.dcm", "dicom/segmentation.dcm"),
        *("findings.json", "report.html", "report.pdf"),
    ]
    for name in ("segmentation.dcm", "report.dcm"):
        assert (tmp_path / "dicom" / name).read_bytes() == (commanded / "dicom" / name).read_bytes()
    # Masks that the server answers with, or saves, say by the same codes what they show.
    given = requests.post(f"{ask}&output=dicom_seg", data={"params": "{}"}).content
    mask = {"label": ("label.nii.gz", (commanded / "lesions.nii.gz").read_bytes())}
    saved = requests.put(f"{dicom_server}/datastore/label?image={last}", files=mask, data={"params": "{}"})
    assert saved.status_code == 200, saved.text
    found = requests.get(
        f"{dicom_server}/dicom-web/instances?Modality=SEG", headers={"Accept": "application/dicom+json"}
    )
    (place,) = found.json()
    study_uid, series, uid = (place[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
    stored = requests.get(
        f"{dicom_server}/dicom-web/studies/{study_uid}/series/{series}/instances/{uid}",
        headers={"Accept": "application/dicom"},
    )
    segments = dcmread(commanded / "dicom" / "segmentation.dcm").SegmentSequence
    (lesion,) = (one for one in segments if one.SegmentLabel.lower().startswith("lesion 1"))
    for content in (given, stored.content):
        assert coded(dcmread(BytesIO(content)).SegmentSequence[0]) == coded(lesion)


def test_models_that_only_outline_report_nothing(server):
    address, _ = server
    for model in (SEGMENTER, DETECTOR, TISSUE):
        assert "reports nothing; ask a model that measures" in refusal(address, model, "own_0000", "&output=report")
