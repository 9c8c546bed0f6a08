"""Segmentations and reports as dcmqi reads them, which knows nothing of what wrote them."""

import json
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tests.dicom.scans import AXIAL, OBLIQUE, SAGITTAL
from tests.findings.test_dicom_writers import FORMS, clip_of, mri_of, written, written_clip

from breastkit.findings.mri_seg import segments_of

dcmqi = pytest.importorskip("dcmqi", reason="dcmqi is not installed: pip install dcmqi")


def read_by_dcmqi(program, *words):
    command = [str(Path(dcmqi.__file__).parent / "bin" / program), *map(str, words)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def segments_by_dcmqi(path, folder):
    """Returns what is told of every segment, with the file of its mask."""
    folder.mkdir()
    options = ("--inputDICOM", path, "--outputDirectory", folder, "--outputType", "nii", "--prefix", "x")
    read_by_dcmqi("segimage2itkimage", *options)
    told = json.loads((folder / "x-meta.json").read_text())
    found = [each for group in told["segmentAttributes"] for each in group]
    return {one["labelID"]: (one, folder / f"x-{one['labelID']}.nii.gz") for one in found}


def report_by_dcmqi(path, out):
    read_by_dcmqi("tid1500reader", "--inputDICOM", path, "--outputMetadata", out)
    return json.loads(out.read_text())


def world(mask, affine):
    """The places of all voxels of a mask in the patient, in order."""
    places = np.argwhere(mask) @ affine[:3, :3].T + affine[:3, 3]
    return places[np.lexsort(np.round(places, 1).T)]


def code(item):
    return item["CodingSchemeDesignator"], item["CodeValue"]


def measured(group):
    return {
        code(one["quantity"]): (float(one["value"]), one["units"]["CodeValue"]) for one in group["measurementItems"]
    }


def judged(group):
    """The answers that are codes."""
    pairs = ((one["conceptCode"], one["conceptValue"]) for one in group["qualitativeEvaluations"])
    return {code(name): code(value) for name, value in pairs if isinstance(value, dict)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("directions", [AXIAL, SAGITTAL, OBLIQUE], ids=["axial", "sagittal", "oblique"])
def test_segments_lie_where_they_were_found(tmp_path, directions, form):
    findings = mri_of(tmp_path / "study", directions, **FORMS[form])
    path = written(findings, tmp_path / "out", "seg") / "segmentation.dcm"
    segments = segments_by_dcmqi(path, tmp_path / "read")
    expected = segments_of(findings)
    assert sorted(segments) == [1, 2, 3]
    for number, (name, segment) in enumerate(expected.items(), start=1):
        told, file = segments[number]
        image = nibabel.load(file)
        mask = np.asarray(image.dataobj) > 0
        np.testing.assert_allclose(
            world(mask, image.affine), world(segment.mask, findings.phases.affine), atol=0.02, rtol=0
        )
        assert (told["SegmentLabel"], told["TrackingIdentifier"]) == (name, name)
    lesion = segments[3][0]
    assert code(lesion["SegmentedPropertyTypeCodeSequence"]) == ("SCT", "52988006")
    assert code(lesion["AnatomicRegionModifierSequence"]) == ("SCT", "7771000")


def test_measurements_of_a_study_are_read_as_they_were_written(tmp_path):
    findings = mri_of(tmp_path / "study")
    folder = written(findings, tmp_path / "out")
    segments = segments_by_dcmqi(folder / "segmentation.dcm", tmp_path / "read")
    told = report_by_dcmqi(folder / "report.dcm", tmp_path / "report.json")
    groups = {one["TrackingIdentifier"]: one for one in told["Measurements"] if "ReferencedSegment" in one}
    (line,) = [one for one in told["Measurements"] if "ReferencedSegment" not in one]
    assert sorted(groups) == ["Left breast", "Lesion 1", "Right breast"]
    for number, (segment, _) in segments.items():
        group = groups[segment["SegmentLabel"]]
        assert (group["ReferencedSegment"], group["TrackingUniqueIdentifier"]) == (
            number,
            segment["TrackingUniqueIdentifier"],
        )
    lesion = groups["Lesion 1"]
    assert code(lesion["Finding"]) == ("SCT", "52988006")
    assert code(lesion["FindingSite"]) == ("SCT", "76752008")
    assert code(lesion["Laterality"]) == ("SCT", "7771000")
    assert measured(lesion) == {
        ("DCM", "111012"): (75, "%"),
        ("SCT", "118565006"): (42.25, "mm3"),
        ("99BREASTKIT", "wash_in"): (1.5, "1"),
    }
    # The line that viewers draw is a group of its own, of the same lesion.
    assert line["TrackingUniqueIdentifier"] == lesion["TrackingUniqueIdentifier"]
    assert [code for code, _ in measured(line)] == ["SCT"]
    assert judged(lesion)["RADLEX", "RID6058"] == ("DCM", "130599")


def test_measurements_of_a_clip_are_read_as_they_were_written(tmp_path):
    """Its segmentation dcmqi does not read: it takes a frame of reference for granted, which ultrasound has not."""
    folder = written_clip(clip_of(tmp_path, frames=3), tmp_path / "out")
    groups = report_by_dcmqi(folder / "clip_report.dcm", tmp_path / "report.json")["Measurements"]
    names = ["Lesion in frame 1", "Picture in frame 2", "Lesion in frame 3"]
    assert [one["TrackingIdentifier"] for one in groups] == names
    assert ["Finding" in one for one in groups] == [True, False, True]
    for one in (groups[0], groups[2]):
        assert measured(one)["SCT", "42798000"] == (15 * 0.25, "mm2")
        assert measured(one)["DCM", "111047"] == (60, "%")
        assert judged(one)["DCM", "121077"] == ("SCT", "21594007")
