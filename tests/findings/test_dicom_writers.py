"""SEG and SR of studies and pictures: written, read back by highdicom, and judged by dciodvfy."""

import shutil
from dataclasses import replace

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom import dcmread
from tests.dicom.conformance import errors_of, needs_dciodvfy
from tests.dicom.scans import AXIAL, OBLIQUE, SAGITTAL, affine_of, an_l, edit_all, write_multi_frame, write_scan
from tests.findings.made_up import mri_findings, picture_findings

from breastkit.dce import DcePhases, Grid, VoxelBox
from breastkit.dce.glands import GlandMeasures
from breastkit.dicom import list_series, read_series, why_no_ultrasound
from breastkit.dicom.derived_objects import Side
from breastkit.dicom.read_seg import read_segmentation
from breastkit.dicom.source_images import read_source_images
from breastkit.dicom.write_us import write_us_dicom
from breastkit.errors import BreastkitError
from breastkit.findings.mri_png import lesion_tiles
from breastkit.findings.study_findings import Measurement, MriFindings, PictureFindings, StudyLesion
from breastkit.findings.writers import Outputs, chosen_writers
from breastkit.images import write_nifti, write_png

SHAPE = (11, 9, 7)


def mri_of(
    folder, directions=AXIAL, *, reverse=False, multi_frame=False, lesions=1, sides=True, spacing=(0.8, 1.1, 2.5)
):
    """Findings of a DICOM study of two phases: an asymmetric lesion, and breasts on both sides of it."""
    for number in (1, 2):
        scan = write_scan(folder / f"phase{number}", affine_of(directions, spacing), reverse=reverse, number=number)
        if multi_frame:
            write_multi_frame(folder / f"whole{number}", scan)
            shutil.rmtree(scan)
    series = list_series(folder)
    scan = read_series(series[0])
    grid = Grid.of(scan.array.shape, scan.affine)
    mask = an_l() > 0
    values = {"volume_mm3": (42.25, "mm3"), "wash_in": (1.5, "1"), "distance_to_skin_mm": (None, "mm")}
    measured = tuple(Measurement(name, *value) for name, value in values.items())
    lesion = StudyLesion(
        score=0.75,
        mask=mask,
        box=VoxelBox.around(mask, grid),
        side=Side.LEFT if sides else None,
        measurements=(*measured, Measurement("kinetic_class", "washout")),
    )
    breast = np.zeros(SHAPE, bool)
    breast[1:10, 1:8, 1:6] = True
    middle = float((grid.affine @ [5, 4, 3, 1])[0])
    arrays = [np.zeros(grid.axial.shape, np.float32)] * 2
    return replace(
        mri_findings(lesions=0),
        sources=tuple(series),
        phases=DcePhases(arrays, grid, (folder, folder)),
        breast=breast,
        midline=middle if sides else None,
        lesions=(lesion,) * lesions,
    )


def written(findings, out, formats="sr"):
    outputs = Outputs(out, chosen_writers(type(findings), formats))
    outputs.write(findings)
    outputs.finish()
    return out / "dicom"


FORMS = {"single": {}, "reversed": {"reverse": True}, "multi_frame": {"multi_frame": True}}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("directions", [AXIAL, SAGITTAL, OBLIQUE], ids=["axial", "sagittal", "oblique"])
def test_what_is_outlined_comes_back_from_the_segmentation(tmp_path, directions, form):
    findings = mri_of(tmp_path / "study", directions, **FORMS[form])
    path = written(findings, tmp_path / "out", "seg") / "segmentation.dcm"
    for series in findings.sources:
        left, right, lesion = read_segmentation(path, series)
        np.testing.assert_array_equal(lesion.mask, an_l())
        np.testing.assert_array_equal(left.mask | right.mask, findings.breast)
    # DICOM's x grows to the patient's left.
    lps = [float(np.argwhere(one.mask).mean(0) @ -findings.phases.affine[0, :3]) for one in (left, right)]
    assert lps[0] > lps[1]
    assert (left.label, right.label, lesion.label) == ("Left breast", "Right breast", "Lesion 1")


def test_segments_say_their_side_their_name_and_what_made_them(tmp_path):
    findings = mri_of(tmp_path / "study")
    left, _, lesion = pydicom.dcmread(written(findings, tmp_path / "out") / "segmentation.dcm").SegmentSequence
    (type_,) = left.SegmentedPropertyTypeCodeSequence
    assert type_.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == "7771000"
    (region,) = lesion.AnatomicRegionSequence
    assert (region.CodeMeaning, region.AnatomicRegionModifierSequence[0].CodeMeaning) == ("Breast", "Left")
    (algorithm,) = lesion.SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("breastkit segmenter a_network", 64 * "a")
    unsided = mri_of(tmp_path / "other", sides=False)
    both, lesion = pydicom.dcmread(written(unsided, tmp_path / "out2") / "segmentation.dcm").SegmentSequence
    assert both.SegmentLabel == "Breasts"
    assert "AnatomicRegionModifierSequence" not in lesion.AnatomicRegionSequence[0]


def test_the_report_tells_measures_of_each_lesion_with_its_segment(tmp_path):
    folder = written(mri_of(tmp_path / "study"), tmp_path / "out")
    seg = highdicom.seg.segread(folder / "segmentation.dcm")
    report = highdicom.sr.srread(folder / "report.dcm")
    lesion, left, right = report.content.get_volumetric_roi_measurement_groups()
    (line,) = report.content.get_image_measurement_groups()
    assert (line.tracking_uid, line.finding_type) == (lesion.tracking_uid, lesion.finding_type)
    assert (lesion.tracking_identifier, lesion.tracking_uid) == ("Lesion 1", seg.SegmentSequence[2].TrackingUID)
    reference = lesion.referenced_segment
    assert reference.referenced_sop_instance_uid == seg.SOPInstanceUID
    assert reference[0].ReferencedSOPSequence[0].ReferencedSegmentNumber == 3
    assert lesion.finding_type.value == "52988006"
    assert [(site.value.meaning, site.laterality.meaning) for site in lesion.finding_sites] == [("Breast", "Left")]
    measured = {one.name.value: (one.value, one.unit.value) for one in lesion.get_measurements()}
    assert measured == {"111012": (75, "%"), "118565006": (42.25, "mm3"), "wash_in": (1.5, "1")}
    judged = {one.name.meaning: one.value.value for one in lesion.get_qualitative_evaluations()}
    assert judged["Enhancement pattern"] == "130599"
    voxel_ml = 0.8 * 1.1 * 2.5 / 1000
    volumes = [group.get_measurements()[0].value for group in (left, right)]
    assert sum(volumes) == pytest.approx(9 * 7 * 5 * voxel_ml, rel=1e-5)
    assert [item.CodeValue for item in report.ContentSequence[-2].ConceptNameCodeSequence] == ["111028"]


def test_glands_of_each_breast_are_a_segment_with_its_measures(tmp_path):
    plain = mri_of(tmp_path / "study")
    glands = plain.breast & ~plain.lesions[0].mask
    glands[..., ::2] = False
    tissue = {side: GlandMeasures(10.0, 2.5, 0.2, 0.3) for side in Side}
    folder = written(replace(plain, glands=glands, tissue=tissue), tmp_path / "out")
    *_, left, right = read_segmentation(folder / "segmentation.dcm", plain.sources[0])
    np.testing.assert_array_equal(left.mask | right.mask, glands)
    assert (left.label, right.label) == ("Left fibroglandular tissue", "Right fibroglandular tissue")
    *_, segment = pydicom.dcmread(folder / "segmentation.dcm").SegmentSequence
    (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
    assert (segment.SegmentAlgorithmType, algorithm.AlgorithmName) == ("AUTOMATIC", "breastkit glands threshold")
    *_, group = highdicom.sr.srread(folder / "report.dcm").content.get_volumetric_roi_measurement_groups()
    assert group.tracking_identifier == "Right fibroglandular tissue"
    measured = {one.name.value: (one.value, one.unit.value) for one in group.get_measurements()}
    assert measured == {
        "118565006": (2.5, "ml"), "fgt_percent": (25, "%"), "bpe_mean": (0.2, "1"), "bpe_quartile": (0.3, "1")
    }  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("directions", [AXIAL, SAGITTAL, OBLIQUE], ids=["axial", "sagittal", "oblique"])
def test_the_long_axis_is_a_line_between_the_farthest_corners_of_a_slice(tmp_path, directions, form):
    findings = mri_of(tmp_path / "study", directions, **FORMS[form])
    report = highdicom.sr.srread(written(findings, tmp_path / "out") / "report.dcm")
    (line,) = report.content.get_image_measurement_groups()
    (length,) = line.get_measurements()
    (drawn,) = length.referenced_coordinates
    # From the corner of pixel (1, 1) to that of pixel (8, 7), which the lesion has in the lowest of its slices alone.
    assert drawn.graphic_type == highdicom.sr.GraphicTypeValues.POLYLINE
    assert sorted(drawn.value.tolist()) == [[1, 1], [9, 8]]
    assert (length.name.meaning, length.unit.value) == ("Long axis", "mm")
    assert length.value == pytest.approx(np.hypot(8 * 0.8, 7 * 1.1), rel=1e-5)
    (image,) = drawn.ContentSequence
    header = {each.SOPInstanceUID: each for path in (tmp_path / "study").rglob("*.dcm") for each in [dcmread(path)]}[
        image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    ]
    if frame := image.ReferencedSOPSequence[0].get("ReferencedFrameNumber"):
        header = header.PerFrameFunctionalGroupsSequence[frame - 1].PlanePositionSequence[0]
    ras = np.array(header.ImagePositionPatient) * (-1, -1, 1)
    np.testing.assert_allclose(ras, (findings.phases.affine @ [0, 0, 2, 1])[:3], atol=1e-3)


def test_the_report_names_all_images_that_were_read(tmp_path):
    findings = mri_of(tmp_path / "study")
    report = pydicom.dcmread(written(findings, tmp_path / "out") / "report.dcm")
    named = {
        str(item.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    images = {str(pydicom.dcmread(path).SOPInstanceUID) for path in (tmp_path / "study").rglob("*.dcm")}
    assert len(images) == 14
    assert images < named


def lacking(image):
    del image.SliceThickness


def emptied(image):
    image.SliceThickness = None


@pytest.mark.parametrize("change", [lacking, emptied])
def test_headers_without_thickness_are_no_hindrance(tmp_path, change):
    findings = mri_of(tmp_path / "study")
    for phase in (tmp_path / "study").iterdir():
        edit_all(phase, change)
    folder = written(findings, tmp_path / "out")
    report = highdicom.sr.srread(folder / "report.dcm")
    assert len(report.content.get_volumetric_roi_measurement_groups()) == 3
    assert shutil.which("dciodvfy") is None or not errors_of(folder / "report.dcm")


def test_the_same_study_and_weights_give_the_same_bytes_and_other_weights_other_identifiers(tmp_path):
    findings = mri_of(tmp_path / "study")
    one, again = (written(findings, tmp_path / name) for name in ("one", "again"))
    models = tuple(replace(model, sha256=64 * "c") for model in findings.models)
    other = written(replace(findings, models=models), tmp_path / "other")
    for name in ("segmentation.dcm", "report.dcm"):
        assert (one / name).read_bytes() == (again / name).read_bytes()
        assert pydicom.dcmread(one / name).SOPInstanceUID != pydicom.dcmread(other / name).SOPInstanceUID


def test_a_study_without_any_finding_has_a_report_too(tmp_path):
    findings = mri_of(tmp_path / "study", lesions=0, sides=False)
    folder = written(replace(findings, breast=np.zeros_like(findings.breast)), tmp_path / "out")
    (group,) = highdicom.sr.srread(folder / "report.dcm").content.get_volumetric_roi_measurement_groups()
    assert (group.tracking_identifier, group.get_measurements()[0].value) == ("Breasts", 0)


def clip_of(folder, *, frames):
    """Findings of every frame of a clip; the second shows no lesion. One frame is a single picture."""
    array = np.random.default_rng(0).integers(0, 256, (frames, 24, 40), dtype=np.uint8)
    source = write_us_dicom(folder / "clip.dcm", array, spacing=0.5, patient="P1^", uid_seed=f"clip of {frames}")
    found = [
        replace(picture_findings(found=number != 1), sources=(source,), frame=number, name=f"clip_frame{number + 1}")
        for number in range(frames)
    ]
    return found if frames > 1 else [replace(found[0], frame=None, name="clip")]


def written_clip(found, out, formats="sr"):
    outputs = Outputs(out, chosen_writers(PictureFindings, formats))
    for findings in found:
        outputs.write(findings)
    outputs.finish()
    return out / "dicom"


@pytest.mark.parametrize("frames", [1, 3])
def test_frames_of_a_clip_are_one_segmentation_and_one_report(tmp_path, frames):
    found = clip_of(tmp_path, frames=frames)
    folder = written_clip(found, tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == ["clip_report.dcm", "clip_segmentation.dcm"]
    (segment,) = read_segmentation(folder / "clip_segmentation.dcm", tmp_path / "clip.dcm")
    masks = np.stack([findings.mask for findings in found])
    np.testing.assert_array_equal(segment.mask.reshape(masks.shape), masks)
    report = highdicom.sr.srread(folder / "clip_report.dcm")
    groups = report.content.get_planar_roi_measurement_groups()
    assert len(groups) == np.count_nonzero(masks.any(axis=(1, 2)))
    for group in groups:
        measured = {one.name.value: (one.value, one.unit.value) for one in group.get_measurements()}
        assert measured["42798000"] == (15 * 0.25, "mm2")
        assert measured["111047"] == (60, "%")
        judged = {one.name.meaning: one.value.meaning for one in group.get_qualitative_evaluations()}
        assert (judged["Conclusion"], judged["Flagged by the operating point"]) == ("Malignant", "Yes")


def test_a_frame_is_named_where_it_stands_in_segmentation_and_clip(tmp_path):
    folder = written_clip(clip_of(tmp_path, frames=3), tmp_path / "out")
    content = highdicom.sr.srread(folder / "clip_report.dcm").content
    places = []
    for group in content.get_planar_roi_measurement_groups():
        segment, source = group.referenced_segmentation_frame
        places.append((segment.referenced_frame_numbers, source.referenced_frame_numbers))
    # The empty second frame has no frame in the segmentation.
    assert places == [([1], [1]), ([2], [3])]
    (without,) = content.get_image_measurement_groups()
    assert without.tracking_identifier == "Picture in frame 2"


def test_objects_of_one_run_do_not_mix(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one, other = (clip_of(tmp_path / name, frames=frames) for name, frames in (("a", 1), ("b", 3)))
    other = [replace(findings, name=findings.name.replace("clip", "other")) for findings in other]
    folder = written_clip([*one, *other], tmp_path / "out")
    shapes = [
        read_segmentation(folder / f"{name}_segmentation.dcm", path / "clip.dcm")[0].mask.shape
        for name, path in (("clip", tmp_path / "a"), ("other", tmp_path / "b"))
    ]
    assert shapes == [(24, 40), (3, 24, 40)]


def with_probabilities(findings):
    """The same with what a network might have said: not the same anywhere, and surer within the outlines."""
    said = np.random.default_rng(1).uniform(0, 0.5, SHAPE).astype(np.float32)
    lesions = tuple(replace(one, probability=said + np.float32(0.5) * one.mask) for one in findings.lesions)
    return replace(findings, lesions=lesions, breast_probability=said[::-1] + np.float32(0.5) * findings.breast)


@pytest.mark.parametrize("form", FORMS)
def test_probabilities_come_back_from_a_fractional_segmentation(tmp_path, form):
    findings = with_probabilities(mri_of(tmp_path / "study", OBLIQUE, **FORMS[form]))
    folder = written(findings, tmp_path / "out", "seg,probabilities")
    binary, fractional = (dcmread(folder / f"{name}.dcm") for name in ("segmentation", "probabilities"))
    assert (fractional.SegmentationType, fractional.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    for name in ("SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber"):
        assert binary[name].value != fractional[name].value
    tracked = [[one.TrackingUID for one in each.SegmentSequence] for each in (binary, fractional)]
    assert tracked[0] == tracked[1]
    left, right, lesion = read_segmentation(folder / "probabilities.dcm", findings.sources[1])
    half = 0.5 / 255 + 1e-6
    np.testing.assert_allclose(lesion.mask, findings.lesions[0].probability, atol=half)
    np.testing.assert_allclose(left.mask + right.mask, findings.breast_probability, atol=half)
    assert not (left.mask * right.mask).any()
    read = highdicom.seg.segread(folder / "probabilities.dcm")
    uids = [str(one.SOPInstanceUID) for one in read_source_images(findings.sources[1]).headers]
    if form == "multi_frame":
        numbers = list(range(1, SHAPE[2] + 1))
        frames = read.get_pixels_by_source_frame(uids[0], numbers, segment_numbers=[3])
        frames = frames[list(read_source_images(findings.sources[1]).planes)]
    else:
        frames = read.get_pixels_by_source_instance(uids, segment_numbers=[3])
    np.testing.assert_allclose(frames[..., 0].transpose(2, 1, 0), lesion.mask, atol=1e-6)


@pytest.mark.parametrize("frames", [1, 3])
def test_probabilities_of_a_clip_are_those_of_its_frames(tmp_path, frames):
    found = clip_of(tmp_path, frames=frames)
    said = np.random.default_rng(2).uniform(0, 1, found[0].reading.probability.shape).astype(np.float32)
    found = [replace(one, reading=replace(one.reading, probability=said / (n + 1))) for n, one in enumerate(found)]
    folder = written_clip(found, tmp_path / "out", "probabilities")
    (segment,) = read_segmentation(folder / "clip_probabilities.dcm", tmp_path / "clip.dcm")
    expected = np.stack([one.probability for one in found]).reshape(segment.mask.shape)
    np.testing.assert_allclose(segment.mask, expected, atol=0.5 / 255 + 1e-6)


@needs_dciodvfy
def test_no_object_has_an_error(tmp_path):
    studies = {
        "full": mri_of(tmp_path / "full"),
        "unsided": mri_of(tmp_path / "unsided", OBLIQUE, sides=False),
        "empty": mri_of(tmp_path / "empty", lesions=0),
        "multi_frame": mri_of(tmp_path / "multi_frame", multi_frame=True),
    }
    studies = {name: with_probabilities(findings) for name, findings in studies.items()}
    formats = "sr,probabilities"
    folders = [written(findings, tmp_path / "out" / name, formats) for name, findings in studies.items()]
    for frames in (1, 3):
        (tmp_path / str(frames)).mkdir()
        clip = clip_of(tmp_path / str(frames), frames=frames)
        folders.append(written_clip(clip, tmp_path / "out" / str(frames), formats))
    found = {path: errors_of(path) for folder in folders for path in folder.iterdir()}
    assert len(found) == 18
    assert not {path: errors for path, errors in found.items() if errors}


def nifti_of(folder, directions=AXIAL):
    """Findings of a study in NIfTI: an asymmetric lesion in what is not of whole numbers."""
    paths = tuple(folder / f"x_{number:04d}.nii.gz" for number in range(2))
    grid, random = Grid.of(SHAPE, affine_of(directions)), np.random.default_rng(0)
    volumes = [random.normal(100, 5, SHAPE).astype(np.float32) + 50 * (an_l() > 0) * number for number in range(2)]
    for path, volume in zip(paths, volumes, strict=True):
        write_nifti(path, volume, grid.affine)
    mask = an_l() > 0
    lesion = StudyLesion(score=0.75, mask=mask, box=VoxelBox.around(mask, grid))
    arrays = [np.ascontiguousarray(grid.turn(volume)) for volume in volumes]
    phases = DcePhases(arrays, grid, paths)
    study = replace(mri_findings(lesions=0), sources=paths, phases=phases, breast=np.ones(SHAPE, bool))
    return replace(study, lesions=(lesion,))


def pictures_of(folder):
    """Findings of two pictures, one without a lesion."""
    found = []
    for number in range(2):
        findings = picture_findings(found=not number)
        path = write_png(folder / f"x{number}.png", findings.picture.gray + np.uint8(number))
        found.append(replace(findings, sources=(path,), frame=None, name=f"x{number}", file=path.name))
    return found


def written_any(findings, out, formats):
    """As `written`, of input that is no DICOM."""
    found = findings if isinstance(findings, list) else [findings]
    outputs = Outputs(out, chosen_writers(type(found[0]), formats), make_dicom=True)
    for each in found:
        outputs.write(each)
    outputs.finish()
    return out / "dicom"


DIRECTIONS = {"axial": AXIAL, "sagittal": SAGITTAL, "oblique": OBLIQUE, "left-handed": np.diag([1, 1, -1])}


@pytest.mark.parametrize("directions", DIRECTIONS.values(), ids=DIRECTIONS)
def test_objects_of_nifti_refer_to_images_that_are_made_of_it(tmp_path, directions):
    findings = nifti_of(tmp_path, directions)
    folder = written_any(findings, tmp_path / "out", "sr,pdf,sc")
    (series,) = list_series(folder / "images")
    made = read_series(series)
    assert pydicom.dcmread(series.files[0]).ImageType[:2] == ["DERIVED", "SECONDARY"]
    # The images lie where the file did, and show the phase after contrast.
    to_made = np.linalg.inv(made.affine) @ findings.phases.affine
    inside = sorted(tuple(np.rint((to_made @ [*index, 1])[:3]).astype(int)) for index in np.argwhere(an_l() > 0))
    values = np.array([made.array[place] for place in inside])
    assert values.mean() > made.array.mean() + 2 * made.array.std()
    _, lesion = read_segmentation(folder / "segmentation.dcm", series)
    assert sorted(map(tuple, np.argwhere(lesion.mask))) == inside
    headers = [pydicom.dcmread(folder / f"{name}.dcm") for name in ("segmentation", "report", "report_pdf", "key_1")]
    assert {header.StudyInstanceUID for header in headers} == {series.study}


def test_objects_of_pictures_refer_to_images_that_are_made_of_them(tmp_path):
    found = pictures_of(tmp_path)
    folder = written_any(found, tmp_path / "out", "sr,pdf,sc")
    kinds = ("image", "overlay", "report", "report_pdf", "segmentation")
    names = [f"x{number}_{kind}.dcm" for number in range(2) for kind in kinds]
    assert sorted(path.name for path in folder.iterdir()) == names
    for findings in found:
        image = folder / f"{findings.name}_image.dcm"
        np.testing.assert_array_equal(pydicom.dcmread(image).pixel_array, findings.picture.gray)
        assert why_no_ultrasound(image) is None
        (segment,) = read_segmentation(folder / f"{findings.name}_segmentation.dcm", image)
        np.testing.assert_array_equal(segment.mask, findings.mask)
        study = {pydicom.dcmread(folder / f"{findings.name}_{kind}.dcm").StudyInstanceUID for kind in kinds}
        assert len(study) == 1


def test_a_pdf_is_stored_as_it_lies_beside_and_key_pictures_as_they_are_drawn(tmp_path):
    findings = mri_of(tmp_path / "study")
    folder = written(findings, tmp_path / "out", "pdf,sc")
    stored = pydicom.dcmread(folder / "report_pdf.dcm")
    pdf = (tmp_path / "out" / "report.pdf").read_bytes()
    assert stored.EncapsulatedDocument[: stored.EncapsulatedDocumentLength] == pdf
    header = pydicom.dcmread(findings.sources[1].files[0])
    for each in (stored, pydicom.dcmread(folder / "key_1.dcm")):
        assert (each.StudyInstanceUID, each.PatientID) == (header.StudyInstanceUID, header.PatientID)
        assert each.SeriesInstanceUID != header.SeriesInstanceUID
    ((title, tile),) = lesion_tiles(findings)
    key = pydicom.dcmread(folder / "key_1.dcm")
    np.testing.assert_array_equal(key.pixel_array, tile)
    assert key.ImageComments == title


def test_objects_of_one_run_hold_the_report_of_their_own_patient(tmp_path):
    folder = written_any(pictures_of(tmp_path), tmp_path / "out", "seg,pdf")
    whole = (tmp_path / "out" / "report.pdf").stat().st_size
    stored = [pydicom.dcmread(folder / f"x{number}_report_pdf.dcm") for number in range(2)]
    assert all(each.EncapsulatedDocumentLength < whole for each in stored)
    assert [each.DocumentTitle.rpartition(": ")[2] for each in stored] == ["x0.png", "x1.png"]


@pytest.mark.parametrize("make", [nifti_of, pictures_of])
def test_the_same_input_gives_the_same_objects(tmp_path, make):
    found = make(tmp_path)
    one, again = (written_any(found, tmp_path / name, "sr,pdf,sc") for name in ("one", "again"))
    names = sorted(path.relative_to(one) for path in one.rglob("*.dcm"))
    assert len(names) > 5
    for name in names:
        assert (one / name).read_bytes() == (again / name).read_bytes(), name
    # A run into the same folder replaces what is there.
    assert written_any(found, tmp_path / "one", "sr,pdf,sc") == one
    assert sorted(path.relative_to(one) for path in one.rglob("*.dcm")) == names


@needs_dciodvfy
def test_no_pdf_picture_or_made_image_has_an_error(tmp_path):
    folders = [written(mri_of(tmp_path / "mri"), tmp_path / "out" / "mri", "pdf,sc")]
    for name, make in (("nifti", nifti_of), ("pictures", pictures_of)):
        (tmp_path / name).mkdir()
        folders.append(written_any(make(tmp_path / name), tmp_path / "out" / name, "sr,pdf,sc"))
    # One of the images of a series is like the other.
    paths = [path for folder in folders for path in folder.rglob("*.dcm") if path.stem == "0001" or path.stem[0] != "0"]
    found = {path.relative_to(tmp_path): errors_of(path) for path in paths}
    assert len(found) == 2 + 5 + 10
    assert not {path: errors for path, errors in found.items() if errors}


def test_other_input_goes_without_dicom_where_it_was_not_asked_for(tmp_path):
    outputs = Outputs(tmp_path / "out", chosen_writers(MriFindings))
    outputs.write(mri_findings())
    outputs.finish()
    assert not (tmp_path / "out" / "dicom").exists()
    assert [writer.format for writer in chosen_writers(MriFindings, "csv,sr")] == ["csv", "seg", "sr"]
    assert "sc" not in [writer.format for writer in chosen_writers(MriFindings)]


def test_what_has_no_place_in_dicom_is_refused_in_one_sentence(tmp_path):
    sheared = np.array([[1, 0.5, 0], [0, 1, 0], [0, 0, 1.0]])
    with pytest.raises(BreastkitError, match="cannot be DICOM: the axes of the volume are not perpendicular; resample"):
        written_any(nifti_of(tmp_path, sheared), tmp_path / "out", "seg")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
