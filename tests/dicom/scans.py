"""Scans and masks for the tests of segmentations."""

import numpy as np
import pydicom
from pydicom.uid import EnhancedMRImageStorage

from breastkit.dicom.segment_kinds import SegmentKind
from breastkit.dicom.write_mr import MrStudy, write_mr_series
from breastkit.dicom.write_seg import Algorithm, Segment, write_segmentation

STUDY = MrStudy(patient_id="P1^", uid_source="segmentation test")
MODEL = Algorithm("breast_mri_lesion_segmentation", "sha256:0123abcd")
SHAPE = (11, 9, 7)
# Columns of the affine's axes in RAS: how the planes of a scan lie.
AXIAL = np.array([[-1, 0, 0], [0, -1, 0], [0, 0, 1]]).T
SAGITTAL = np.array([[0, -1, 0], [0, 0, -1], [-1, 0, 0]]).T
CORONAL = np.array([[-1, 0, 0], [0, 0, -1], [0, 1, 0]]).T
OBLIQUE = np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3)))[0]


def affine_of(directions, spacing=(0.8, 1.1, 2.5), origin=(-31.25, 12.5, 7.0)):
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    affine[:3, 3] = origin
    return affine


def an_l(shape=SHAPE, slices=(2, 5)):
    """A mask without any symmetry, empty in the outer slices."""
    mask = np.zeros(shape, np.uint8)
    mask[1:8, 1:3, slices[0] : slices[1]] = 1
    mask[1:3, 1:6, slices[0] : slices[1]] = 1
    mask[8, 7, slices[0]] = 1
    return mask


def write_scan(folder, affine, *, reverse=False, number=1, shape=SHAPE, study=STUDY):
    array = np.random.default_rng(0).integers(0, 900, shape).astype(np.int16)
    write_mr_series(folder, array, affine, study, number=number, description="dyn")
    if reverse:
        edit_all(folder, lambda image: setattr(image, "InstanceNumber", shape[2] + 1 - image.InstanceNumber))
    return folder


def write_multi_frame(folder, single):
    """Writes a scan of single images as one enhanced object, its frames in no order, and returns that."""
    slices = [pydicom.dcmread(path) for path in sorted(single.iterdir())]
    order = [3, 0, 6, 1, 5, 2, 4]
    scan = slices[0]
    shared, measures, turn = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing, measures.SliceThickness = scan.PixelSpacing, scan.SliceThickness
    turn.ImageOrientationPatient = scan.ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [turn]
    scan.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for number in order:
        frame, place = pydicom.Dataset(), pydicom.Dataset()
        place.ImagePositionPatient = slices[number].ImagePositionPatient
        frame.PlanePositionSequence = [place]
        frames.append(frame)
    scan.PerFrameFunctionalGroupsSequence, scan.NumberOfFrames = frames, len(frames)
    scan.SOPClassUID = scan.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    scan.PixelData = b"".join(slices[number].PixelData for number in order)
    folder.mkdir(parents=True)
    scan.save_as(folder / "1.dcm")
    return scan


def edit_all(folder, change):
    for path in sorted(folder.iterdir()):
        edit(path, change)


def edit(path, change):
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)
    return path


def write_mask(path, source, mask=None, **options):
    mask = an_l() if mask is None else mask
    return write_segmentation(path, [Segment(SegmentKind.BREAST_LESION, mask, MODEL)], source, **options)


def only(segments):
    (segment,) = segments
    return segment


def shifted(affine, by):
    moved = affine.copy()
    moved[:3, 3] += by
    return moved
