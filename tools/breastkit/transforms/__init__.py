"""Dictionary transforms, one a file, invertible where they move pixels."""

from breastkit.transforms.letterbox_slices import LetterboxSlicesd
from breastkit.transforms.load_volume import LoadVolumed

__all__ = ["LetterboxSlicesd", "LoadVolumed"]
