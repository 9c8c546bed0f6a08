"""What a classifier of lesions looks at, out of a picture and its mask."""

from __future__ import annotations

from collections.abc import Sequence

from monai.transforms import Compose, CopyItemsd

from breastkit.transforms.crop_to_lesion import CropToLesiond
from breastkit.transforms.lesion_view import LesionViewd
from breastkit.transforms.letterbox_pictures import LetterboxPicturesd
from breastkit.transforms.load_picture import LoadPictured


class LesionPicture(Compose):
    """Reads ``image`` and, where there is one, ``mask``, and gives the view of both that a classifier takes.

    Both are kept as they were read, under ``picture`` and ``mask_picture``.

    Args:
        image_size: side of the square.
        channels: of the view, see `LesionViewd`.
        margin: around the lesion, see `CropToLesiond`; None keeps the whole picture.
    """

    def __init__(self, *, image_size: int, channels: Sequence[str], margin: float | None = None) -> None:
        both = ["image", "mask"]
        super().__init__(
            [
                LoadPictured(both, mask_keys="mask", allow_missing_keys=True),
                CopyItemsd(both, names=["picture", "mask_picture"], allow_missing_keys=True),
                CropToLesiond(both, mask_key="mask", margin=margin),
                LetterboxPicturesd(both, image_size=image_size, mask_keys="mask", allow_missing_keys=True),
                LesionViewd("image", mask_key="mask", channels=channels),
            ]
        )
