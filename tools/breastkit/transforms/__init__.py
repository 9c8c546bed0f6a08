"""Dictionary transforms, one a file, invertible where they move pixels."""

from breastkit.transforms.align_mask import AlignMaskd
from breastkit.transforms.breast_view import BreastViewd
from breastkit.transforms.class_probabilities import ClassProbabilitiesd
from breastkit.transforms.clean_mask import CleanMaskd, clean_mask
from breastkit.transforms.crop_to_box import CropToBoxesd
from breastkit.transforms.crop_to_lesion import CropToLesiond
from breastkit.transforms.ensemble_mean import EnsembleMeand
from breastkit.transforms.lesion_picture import LesionPicture
from breastkit.transforms.lesion_view import LesionViewd
from breastkit.transforms.letterbox_pictures import LetterboxPicturesd
from breastkit.transforms.letterbox_slices import LetterboxSlicesd
from breastkit.transforms.load_picture import LoadPictured
from breastkit.transforms.load_volume import LoadVolumed
from breastkit.transforms.mask_errors import RandMaskErrorsd
from breastkit.transforms.masks_of_logits import MasksOfLogits
from breastkit.transforms.orient_breast import OrientBreastd
from breastkit.transforms.speckle import RandSpeckled
from breastkit.transforms.split_heads import SplitHeadsd

__all__ = [
    "AlignMaskd",
    "BreastViewd",
    "ClassProbabilitiesd",
    "CleanMaskd",
    "CropToBoxesd",
    "CropToLesiond",
    "EnsembleMeand",
    "LesionPicture",
    "LesionViewd",
    "LetterboxPicturesd",
    "LetterboxSlicesd",
    "LoadPictured",
    "LoadVolumed",
    "MasksOfLogits",
    "OrientBreastd",
    "RandMaskErrorsd",
    "RandSpeckled",
    "SplitHeadsd",
    "clean_mask",
]
