"""Dictionary transforms, one a file, invertible where they move pixels."""

from breastkit.transforms.align_mask import AlignMaskd
from breastkit.transforms.clean_mask import CleanMaskd, clean_mask
from breastkit.transforms.letterbox_pictures import LetterboxPicturesd
from breastkit.transforms.letterbox_slices import LetterboxSlicesd
from breastkit.transforms.load_picture import LoadPictured
from breastkit.transforms.load_volume import LoadVolumed
from breastkit.transforms.mean_of_members import MeanOfMembersd
from breastkit.transforms.orient_breast import OrientBreastd
from breastkit.transforms.speckle import RandSpeckled

__all__ = [
    "AlignMaskd",
    "CleanMaskd",
    "LetterboxPicturesd",
    "LetterboxSlicesd",
    "LoadPictured",
    "LoadVolumed",
    "MeanOfMembersd",
    "OrientBreastd",
    "RandSpeckled",
    "clean_mask",
]
