"""DICOM studies as scanners and archives give them: read rightly, or refused with one sentence and nothing written."""

import json
import shutil

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, RLELossless
from tests.bundles.tiny import AFFINE, tiny_study
from tests.pipelines.test_mri import box_of

from breastkit.dicom.write_mr import MrStudy, write_mr_series
from breastkit.errors import BreastkitError
from breastkit.phantoms.mri import make_mri_phantom
from breastkit.pipelines.mri import run_mri

# Sagittal: columns run to the back, rows to the feet, slices from right to left.
SAGITTAL = np.array([[0, 0, -3.0, 30], [-2, 0, 0, 40], [0, -2, 0, 50], [0, 0, 0, 1]])
OBLIQUE = np.array([[-2, 0, 0, 30], [0, 1.9, -0.9, 0], [0, 0.6, 2.86, 0], [0, 0, 0, 1]])


def write_study(folder, affine=AFFINE, *, patient="p1"):
    """Writes the two phases of a study as series, and returns the mask of its lesion on their grid."""
    phases, mask = tiny_study(1, size=(40, 36, 12))
    study = MrStudy(patient, f"odd {patient}")
    for number, (name, phase) in enumerate(zip(("pre", "post 1"), phases, strict=True), start=1):
        volume = phase.round().astype(np.int16)
        write_mr_series(folder / name, volume, affine, study, number=number, description=name, start_s=90 * number)
    return mask > 0


def outlined(study, mask, out):
    """Runs the chain with the lesion's box, and returns the outline it wrote."""
    boxes = out.with_name("given_boxes.json")
    boxes.write_text(json.dumps({"shape": mask.shape, "lesions": [{"score": 0.7, **box_of(mask)}]}))
    run_mri(str(study), out=str(out), boxes=str(boxes))
    return nibabel.load(out / "lesions.nii.gz")


def orthonormal(affine):
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    turn, _ = np.linalg.qr(affine[:3, :3] / spacing)
    turn *= np.sign((turn * affine[:3, :3]).sum(axis=0))
    result = affine.copy()
    result[:3, :3] = turn * spacing
    return result


@pytest.mark.parametrize("affine", [SAGITTAL, orthonormal(OBLIQUE)], ids=["sagittal", "oblique"])
def test_other_directions_come_back_on_their_own_grid(tmp_path, affine):
    mask = write_study(tmp_path / "study", affine)
    found = outlined(tmp_path / "study", mask, tmp_path / "out")
    np.testing.assert_allclose(found.affine, affine, atol=1e-4)
    labels = np.asarray(found.dataobj) == 1
    assert labels.shape == mask.shape
    assert np.count_nonzero(labels & mask) > 0.5 * np.count_nonzero(mask)


def compressed(study):
    for path in study.rglob("*.dcm"):
        image = pydicom.dcmread(path)
        image.compress(RLELossless)
        image.save_as(path)


def enhanced(study):
    """Puts every series into one multi-frame object."""
    for folder in list(study.iterdir()):
        images = [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]
        shared, measures, plane = Dataset(), Dataset(), Dataset()
        measures.PixelSpacing, plane.ImageOrientationPatient = images[0].PixelSpacing, images[0].ImageOrientationPatient
        shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([plane])
        frames = []
        for image in images:
            frame, place = Dataset(), Dataset()
            place.ImagePositionPatient = image.ImagePositionPatient
            frame.PlanePositionSequence = Sequence([place])
            frames.append(frame)
        whole = images[0]
        whole.PixelData = b"".join(image.PixelData for image in images)
        whole.NumberOfFrames = len(images)
        whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
        whole.SharedFunctionalGroupsSequence = Sequence([shared])
        whole.PerFrameFunctionalGroupsSequence = Sequence(frames)
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            del whole[name]
        for path in folder.glob("*.dcm"):
            path.unlink()
        whole.save_as(folder / "all.dcm")


@pytest.mark.parametrize("change", [compressed, enhanced])
def test_other_ways_to_store_a_study_change_nothing(tmp_path, change):
    mask = write_study(tmp_path / "study")
    plain = np.asarray(outlined(tmp_path / "study", mask, tmp_path / "plain").dataobj)
    change(tmp_path / "study")
    other = np.asarray(outlined(tmp_path / "study", mask, tmp_path / "other").dataobj)
    np.testing.assert_array_equal(plain, other)


def lose_a_slice(study):
    (study / "post 1" / "0005.dcm").unlink()
    (study / "pre" / "0005.dcm").unlink()


def lose_a_phase(study):
    shutil.rmtree(study / "post 1")


def shift_a_phase(study):
    for path in (study / "post 1").glob("*.dcm"):
        image = pydicom.dcmread(path)
        image.ImagePositionPatient = [float(v) + 20 for v in image.ImagePositionPatient]
        image.save_as(path)


def add_a_patient(study):
    write_study(study / "more", patient="p2")


def cut_a_file(study):
    path = study / "pre" / "0003.dcm"
    path.write_bytes(path.read_bytes()[:-500])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lose_a_slice, "1 of its slices missing"),
        (lose_a_phase, "with equally many images, are needed"),
        (shift_a_phase, "mm away from"),
        (add_a_patient, "holds 2 patients"),
        (cut_a_file, "0003.dcm is truncated"),
    ],
)
def test_what_is_no_whole_study_gets_one_sentence(tmp_path, damage, words):
    write_study(tmp_path / "study")
    damage(tmp_path / "study")
    with pytest.raises(BreastkitError, match=words) as caught:
        run_mri(str(tmp_path / "study"), out=str(tmp_path / "out"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_objects_of_ours_in_the_study_are_left_aside_and_a_run_again_gives_the_same(tmp_path):
    mask = write_study(tmp_path / "study")
    outlined(tmp_path / "study", mask, tmp_path / "one")
    shutil.copytree(tmp_path / "one" / "dicom", tmp_path / "study" / "results")
    outlined(tmp_path / "study", mask, tmp_path / "again")
    records = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("one", "again")]
    assert records[0]["skipped"] == []
    assert {each["name"]: each["reason"].split(",")[0] for each in records[1]["skipped"]} == {
        "report.dcm": "Comprehensive 3D SR Storage",
        "report_pdf.dcm": "Encapsulated PDF Storage",
        "segmentation.dcm": "Segmentation Storage",
    }
    for name in ("segmentation.dcm", "report.dcm"):
        one, again = ((tmp_path / run / "dicom" / name).read_bytes() for run in ("one", "again"))
        assert one == again
    assert records[0]["inputs"] == records[1]["inputs"]


def test_a_study_without_a_breast_is_said_to_be_doubtful(tmp_path):
    random = np.random.default_rng(0)
    study = MrStudy("p1", "no breast")
    for number, name in enumerate(("pre", "post 1"), start=1):
        noise = random.normal(20, 3, (40, 36, 12)).round().astype(np.int16)
        write_mr_series(
            tmp_path / "study" / name, noise, AFFINE, study, number=number, description=name, start_s=number
        )
    run_mri(str(tmp_path / "study"), out=str(tmp_path / "out"))
    found = json.loads((tmp_path / "out" / "findings.json").read_text())["study"]
    (breast,) = found["breasts"]
    assert (breast["side"], breast["volume_ml"], breast["glands"]["fgt_ml"]) == (None, 0, 0)
    assert "No breast was outlined; check the study." in found["doubts"]
    assert (tmp_path / "out" / "lesions.csv").read_text().startswith("lesion,score,")


@pytest.mark.parametrize("filling", ["dark", "bright"])
def test_an_implant_is_no_lesion(tmp_path, filling):
    phantom = make_mri_phantom(9, 1, shape=(128, 128, 48), phases=2, lesions=1, implant=filling, orientation="LPS")
    study = MrStudy("p1", f"implant {filling}")
    for number, (name, phase) in enumerate(zip(("pre", "post 1"), phantom.phases, strict=True), start=1):
        folder = tmp_path / "study" / name
        write_mr_series(folder, phase, phantom.affine, study, number=number, description=name, start_s=90 * number)
    run_mri(str(tmp_path / "study"), out=str(tmp_path / "out"))
    labels, breast = (
        np.asarray(nibabel.load(tmp_path / f"out/{name}.nii.gz").dataobj) for name in ("lesions", "breast")
    )
    implant = phantom.implant > 0
    assert np.count_nonzero((labels > 0) & implant) < 0.05 * np.count_nonzero(labels)
    # What it hides is outlined as breast, and the lesion beside it is found.
    assert (breast[implant] > 0).mean() > 0.8
    assert (labels[phantom.lesions > 0] == 1).mean() > 0.5
