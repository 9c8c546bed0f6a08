"""A two-dimensional picture from a file of any usual format."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import MetaKeys

from breastkit.images import read_gray, read_mask
from breastkit.transforms.mask_keys import MaskKeysTransform


class LoadPictured(MaskKeysTransform):
    """Replaces paths by pictures: MetaTensors ``(1, rows, columns)``, float32, gray from 0 to 255, masks 0 and 1.

    Colour becomes gray; a mask is what is bright, never the alpha channel. What is an array already, rows by columns,
    is taken as it is: frames of a clip and uploads have no path.

    Args:
        keys: the paths, or arrays.
        mask_keys: which of the keys are masks.
        allow_missing_keys: whether a key may be absent.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with its pictures loaded.

        Raises:
            BreastkitError: if one cannot be read.
        """
        results = dict(data)
        for key in self.key_iterator(results):
            read = read_mask if self.is_mask(key) else read_gray
            given = results[key]
            array = torch.from_numpy((given if isinstance(given, np.ndarray) else read(given)).astype(np.float32))
            meta = {
                MetaKeys.SPATIAL_SHAPE: np.array(array.shape),
                MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),
                "filename_or_obj": "" if isinstance(given, np.ndarray) else str(given),
            }
            results[key] = MetaTensor(array[None], meta=meta)
        return results
