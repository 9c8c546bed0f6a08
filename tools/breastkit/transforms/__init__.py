"""Dictionary transforms, one a file, invertible where they move pixels."""

from breastkit.transforms.align_mask import AlignMaskd
from breastkit.transforms.letterbox_pictures import LetterboxPicturesd
from breastkit.transforms.letterbox_slices import LetterboxSlicesd
from breastkit.transforms.load_picture import LoadPictured
from breastkit.transforms.load_volume import LoadVolumed
from breastkit.transforms.orient_breast import OrientBreastd
from breastkit.transforms.speckle import RandSpeckled

__all__ = [
    "AlignMaskd",
    "LetterboxPicturesd",
    "LetterboxSlicesd",
    "LoadPictured",
    "LoadVolumed",
    "OrientBreastd",
    "RandSpeckled",
]
