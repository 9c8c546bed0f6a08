"""A volume from a NIfTI file or a DICOM series folder."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import MetaKeys, SpaceKeys

from breastkit.images import Image, read_volume
from breastkit.transforms.mask_keys import MaskKeysTransform


def load_volume(path: str | Path, *, mask: bool = False) -> Image:
    """Reads a NIfTI file, or the one series of a DICOM folder.

    Args:
        path: ``.nii``, ``.nii.gz`` or a folder of DICOM files.
        mask: read a binary mask.

    Raises:
        BreastkitError: if it cannot be used as a volume; the sentence says why and what to do.
    """
    path = Path(path)
    if path.is_dir() and not mask:
        from breastkit.dicom import read_series

        return read_series(path)
    return read_volume(path, mask=mask)


class LoadVolumed(MaskKeysTransform):
    """Replaces paths by volumes: MetaTensors ``(1, i, j, k)``, float32, in the file's own axis order.

    The affine is RAS+, as everywhere in MONAI. The memory order of the file is kept, so that axial slices stay whole
    pieces of memory. What is such a tensor already is taken as it is: a study in memory has no path.

    Args:
        keys: the paths.
        mask_keys: which of the keys are binary masks.
        allow_missing_keys: whether a key may be absent.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with its volumes loaded.

        Raises:
            BreastkitError: if one cannot be read.
        """
        results = dict(data)
        for key in self.key_iterator(results):
            if isinstance(results[key], MetaTensor):
                continue
            image = load_volume(results[key], mask=self.is_mask(key))
            array = torch.from_numpy(image.array.astype(np.float32))
            affine = torch.from_numpy(np.array(image.affine, dtype=np.float64))
            meta = {
                MetaKeys.ORIGINAL_AFFINE: affine.clone(),
                MetaKeys.SPACE: SpaceKeys.RAS,
                MetaKeys.SPATIAL_SHAPE: np.array(image.array.shape),
                MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),
                "filename_or_obj": str(results[key]),
            }
            results[key] = MetaTensor(array[None], affine=affine, meta=meta)
        return results
