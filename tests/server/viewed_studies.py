"""What tests of the viewer look at: an ultrasound picture and a dynamic MRI study, as DICOM of phantoms."""

import cv2

from breastkit.dicom.write_us import write_us_dicom
from breastkit.phantoms.mri import write_mri_phantoms
from breastkit.phantoms.us.pictures import make_us_phantom

TISSUE, LESION = "breast_mri_tissue_segmentation", "breast_us_lesion_segmentation"
JSON = {"Accept": "application/dicom+json"}
_PICTURE = make_us_phantom(5, 1)
# A quarter of the pixels: the browser draws in software here.
GRAY = cv2.resize(_PICTURE.image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
MASK = cv2.resize(_PICTURE.mask, GRAY.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0


def write_picture(path):
    """Writes the ultrasound picture of patient US_1 and returns its path."""
    return write_us_dicom(path, GRAY, spacing=2 * _PICTURE.spacing, patient="US_1", uid_seed="viewer")


def write_studies(folder):
    """Writes ``us.dcm`` and the MRI study of patient PHANTOM_001 below ``mri`` into a folder and returns it."""
    write_mri_phantoms(str(folder / "mri"), cases=1, seed=3, size=64, dicom=True, workers=1)
    write_picture(folder / "us.dcm")
    return folder
