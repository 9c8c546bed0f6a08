import csv
import json
import logging
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage
from tests.bundles.tiny import AFFINE, tiny_studies, tiny_study

from breastkit.bundle import Bundle
from breastkit.dce.phases import read_phases
from breastkit.dce.voxel_box import Grid, VoxelBox
from breastkit.detection import Detection, read_boxes, write_boxes
from breastkit.dicom import list_series
from breastkit.dicom.read_seg import read_segmentation
from breastkit.errors import BreastkitError
from breastkit.findings.mri_csv import COLUMNS
from breastkit.images import write_nifti
from breastkit.metrics.segmentation import dice
from breastkit.phantoms.mri import make_mri_phantom
from breastkit.pipelines import BREASTS, LESIONS
from breastkit.pipelines.mri import run_mri
from breastkit.pipelines.mri_outlines import open_breasts, outline_lesions
from breastkit.promotion import promote
from breastkit.transforms import OrientBreastd


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of several phases and the mask of its lesion."""
    folder = tiny_studies(tmp_path_factory.mktemp("studies"), cases=2)
    return folder / "images" / "DUKE_001", tiny_study(1)[1] > 0


def box_of(mask):
    edges = [(int(inside.min()), int(inside.max())) for inside in np.nonzero(mask)]
    names = ("col", "row", "slice")
    return {
        f"{name}_{end}": edge[at]
        for name, edge in zip(names, edges, strict=True)
        for at, end in enumerate(("min", "max"))
    }


def test_lesions_are_written_on_the_study_own_grid(study, tmp_path):
    folder, mask = study
    boxes = tmp_path / "x_boxes.json"
    boxes.write_text(json.dumps({"shape": mask.shape, "lesions": [{"score": 0.7, **box_of(mask)}]}))
    page = run_mri(str(folder), out=str(tmp_path / "out"), boxes=str(boxes))
    assert page == tmp_path / "out" / "report.html"
    rows = list(csv.DictReader((tmp_path / "out" / "lesions.csv").open()))
    assert list(rows[0]) == list(COLUMNS)
    assert (rows[0]["lesion"], float(rows[0]["score"])) == ("1", 0.7)
    labels, breast = (nibabel.load(tmp_path / "out" / f"{name}.nii.gz") for name in ("lesions", "breast"))
    for image in (labels, breast):
        assert image.shape == mask.shape
        np.testing.assert_allclose(image.affine, AFFINE)
    found = np.asarray(labels.dataobj) == 1
    assert np.count_nonzero(found & mask) > np.count_nonzero(mask) / 2
    assert {name: int(rows[0][name]) for name in box_of(found)} == box_of(found)
    found = json.loads((tmp_path / "out" / "findings.json").read_text())["study"]
    assert (len(found["lesions"]), len(found["phases"])) == (1, len(list(folder.iterdir())))
    assert (tmp_path / "out" / "overlay.png").is_file()


def test_probabilities_are_those_that_the_outlines_were_cut_from(study, tmp_path):
    folder, mask = study
    boxes = tmp_path / "x_boxes.json"
    boxes.write_text(json.dumps({"shape": mask.shape, "lesions": [{"score": 0.7, **box_of(mask)}]}))
    run_mri(str(folder), out=str(tmp_path / "out"), boxes=str(boxes), formats="nifti,seg,probabilities")
    (series,) = list_series(tmp_path / "out" / "dicom" / "images")
    outlines, said = (
        {one.label: one.mask for one in read_segmentation(tmp_path / "out" / "dicom" / f"{name}.dcm", series)}
        for name in ("segmentation", "probabilities")
    )
    assert list(outlines) == list(said)
    thresholds = {"Lesion 1": LESIONS, **dict.fromkeys(set(said) - {"Lesion 1"}, BREASTS)}
    for name, bundle in thresholds.items():
        inside = outlines[name] > 0
        threshold = Bundle(bundle).opened().facts.get("threshold", 0.5)
        assert said[name][inside].min() >= min(threshold, said[name].max() / 2) - 1 / 255
        assert said[name][~inside].mean() < 0.2


def test_the_detector_is_asked_where_no_boxes_are_given(study, tmp_path):
    run_mri(str(study[0]), out=str(tmp_path), most=2)
    rows = list(csv.DictReader((tmp_path / "lesions.csv").open()))
    assert len(rows) <= 2
    labels = np.asarray(nibabel.load(tmp_path / "lesions.nii.gz").dataobj)
    assert sorted(set(np.unique(labels)) - {0}) == [int(row["lesion"]) for row in rows]


def test_candidates_outlined_together_are_those_outlined_alone(study):
    folder, mask = study
    phases, bundle = read_phases(sorted(folder.iterdir())), Bundle(LESIONS).opened()
    box = VoxelBox.around(mask, phases.grid)
    (left, top, first), (right, bottom, last) = box.low, box.high
    lower = replace(box, high=(right - 3, bottom, first))
    parts = [
        Detection(0.5, VoxelBox((left, top, number), (right, bottom, number), phases.grid))
        for number in range(first + 1, last + 1)
    ]
    candidates = [Detection(0.7, lower), Detection(0.5, box, tuple(parts))]
    together = outline_lesions(candidates, phases, bundle)
    alone = [outline_lesions([candidate], phases, bundle)[0] for candidate in candidates]
    assert [lesion.score for lesion in together] == [0.7, 0.5]
    np.testing.assert_array_equal(together[0].mask, alone[0].mask)
    np.testing.assert_array_equal(together[1].mask, alone[1].mask & ~alone[0].mask)
    assert np.count_nonzero(alone[1].mask & mask) > np.count_nonzero(mask) / 3
    assert outline_lesions([], phases, bundle) == []


def test_an_outline_is_the_same_however_the_study_is_stored(study, tmp_path):
    """An axial slice of a sagittal study spans many of its own slices; boxes in a file must say so too."""
    folder, mask = study
    axial, bundle = read_phases(sorted(folder.iterdir())), Bundle(LESIONS).opened()
    own = axial.grid
    sagittal = Grid.of([own.shape[axis] for axis in (1, 2, 0)], own.affine[:, [1, 2, 0, 3]])
    box = VoxelBox.around(axial.axial(mask), own.axial)
    outlines = []
    for phases in (axial, replace(axial, grid=sagittal)):
        parts = [
            Detection(0.5, replace(box, low=(number, *box.low[1:]), high=(number, *box.high[1:])).on(phases.grid))
            for number in range(box.low[0], box.high[0] + 1)
        ]
        candidate = Detection(0.5, box.on(phases.grid), tuple(parts))
        path = write_boxes(tmp_path / "x_boxes.json", "x", phases.shape, [candidate])
        (lesion,) = outline_lesions(read_boxes(path, phases.grid), phases, bundle)
        assert lesion.box == VoxelBox.around(lesion.mask, phases.grid)
        outlines.append(phases.axial(lesion.mask))
    np.testing.assert_array_equal(*outlines)


def test_front_and_back_are_what_the_header_says():
    """The rules that find lying headers would turn this study; the detector does not follow them, so nobody does."""
    phantom = make_mri_phantom(9, 1, shape=(96, 96, 36), phases=2, orientation="LPS")
    scan = MetaTensor(torch.from_numpy(phantom.phases[1][:, ::-1].astype(np.float32))[None], affine=phantom.affine)
    scan.meta["filename_or_obj"] = "x_0001.nii.gz"
    decisions = []
    for bundle in (Bundle(BREASTS).opened(), open_breasts()):
        turn = next(step for step in bundle.preprocessing.transforms if isinstance(step, OrientBreastd))
        decisions.append(turn({"image": scan})["image"].meta["orientation_decision"])
    assert decisions[0]["rows"]["flipped"]
    assert "rows" not in decisions[1]


def test_what_cannot_be_read_leaves_nothing_behind(study, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    first = min(study[0].iterdir())
    (alone / first.name).write_bytes(first.read_bytes())
    for place, options, words in (
        (alone, {}, "the first one after it are needed"),
        (study[0].parent, {}, "give the folder of one study"),
        (study[0], {"most": 0}, "whole number"),
        (study[0], {"boxes": str(tmp_path / "none.json")}, "does not exist"),
    ):
        with pytest.raises(BreastkitError, match=words):
            run_mri(str(place), out=str(tmp_path / "out"), **options)
        assert not (tmp_path / "out").exists()


def test_a_phase_that_moved_can_be_moved_back(study, tmp_path):
    folder, mask = study
    moved = tmp_path / "moved"
    moved.mkdir()
    pre, post = (nibabel.load(path) for path in sorted(folder.iterdir())[:2])
    body = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, mask.shape), 1.5) * 400
    # The phase before contrast is the one that moved: the truth belongs to the first one after it.
    for number, (image, shift) in enumerate(((pre, 4), (post, 0))):
        array = np.asarray(image.dataobj) + body
        array = ndimage.shift(array, (shift, 0, 0), order=1, mode="nearest")
        write_nifti(moved / f"x_{number:04d}.nii.gz", array.astype(np.float32), AFFINE)
    boxes = tmp_path / "x_boxes.json"
    boxes.write_text(json.dumps({"shape": mask.shape, "lesions": [{"score": 0.7, **box_of(mask)}]}))
    overlap = {}
    for register in (False, True, None):
        out = tmp_path / f"out {register}"
        run_mri(str(moved), out=str(out), boxes=str(boxes), register=register)
        found = np.asarray(nibabel.load(out / "lesions.nii.gz").dataobj) == 1
        overlap[register] = dice(found, mask)
    assert overlap[None] == overlap[True] > overlap[False] + 0.1


def test_promoted_weights_are_used(study, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("breastkit"), "propagate", True)
    monkeypatch.setenv("BREASTKIT_MODELS", str(tmp_path / "promoted"))
    bundles = [Bundle(BREASTS), Bundle(LESIONS), Bundle(LESIONS).used("detector")]
    for bundle in bundles:
        promote(bundle, bundle.folder / "models", figures={})
    with caplog.at_level("INFO", logger="breastkit"):
        run_mri(str(study[0]), out=str(tmp_path / "out"), most=1)
    for bundle in bundles:
        assert f"{bundle.name} runs with {tmp_path / 'promoted' / bundle.name / '000001' / 'model.pt'}" in caplog.text
