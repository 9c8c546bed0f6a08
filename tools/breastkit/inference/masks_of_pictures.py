"""The masks a classifier looks at: given ones, or the segmenter's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from breastkit.bundle import Bundle
from breastkit.errors import BreastkitError
from breastkit.images import PICTURE_SUFFIXES, read_gray, read_header, stem
from breastkit.inference.ultrasound import Segmenter


class MasksOfPictures:
    """Transform that gives every picture the ``mask`` of its lesion.

    Args:
        mask_dir: a folder with ``x_mask.png`` or ``x.png`` for a picture ``x.jpg``; without it a bundle
            outlines the lesions.
        segmenter: that bundle; by default the one that the classifier uses.
        segmenter_weights: other weights for that than those in use.

    Raises:
        BreastkitError: if there is no such folder, or the weights are missing or damaged.
    """

    def __init__(
        self,
        *,
        mask_dir: str | Path | None = None,
        segmenter: Bundle | None = None,
        segmenter_weights: str | Path | None = None,
    ) -> None:
        self.mask_dir = Path(mask_dir or "")
        if not self.mask_dir.is_dir():
            raise BreastkitError(f"{self.mask_dir} is no folder; name the folder of the masks with --mask_dir.")
        self.segmenter: Segmenter | None = None
        if mask_dir is None:
            try:
                self.segmenter = Segmenter(segmenter_weights, bundle=segmenter)
            except BreastkitError as error:
                remedy = "name the segmenter's weights with --segmenter_weights, or a folder of masks with --mask_dir"
                raise BreastkitError(
                    f"No lesion can be outlined, because {str(error).split(';')[0]}; {remedy}."
                ) from error

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the item with its mask, a path or an array of 0 and 1.

        Raises:
            BreastkitError: if the folder has no mask for it or one of another size, or the picture cannot be read.
        """
        if self.segmenter is not None:
            mask, _ = self.segmenter(read_gray(item["image"]))
            return {**item, "mask": mask.astype("uint8")}
        path = _given(Path(item["image"]), self.mask_dir)
        sizes = read_header(path).shape[:2], read_header(item["image"]).shape[:2]
        if sizes[0] != sizes[1]:
            raise BreastkitError(f"{path} has shape {sizes[0]} but {item['image']} {sizes[1]}; give its own mask.")
        return {**item, "mask": str(path)}


def _given(image: Path, folder: Path) -> Path:
    for name in (f"{stem(image)}_mask", stem(image)):
        for suffix in PICTURE_SUFFIXES:
            path = folder / f"{name}{suffix}"
            if path.is_file() and path.resolve() != image.resolve():
                return path
    raise BreastkitError(f"{image} has no mask in {folder}; put {stem(image)}_mask.png there, or leave out --mask_dir.")
