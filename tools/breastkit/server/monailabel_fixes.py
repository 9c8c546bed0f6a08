"""Every work-around that MONAI Label 0.8.5 needs with these dependencies; `tests/server/test_monailabel_fixes.py` tells
when one is no longer needed.

`prepare` comes before anything of MONAI Label is imported. The rest of what it breaks is not worked around but left
out, because this server has its own endpoints, store and tasks and uses MONAI Label's interfaces alone:

- its endpoints run blocking work on the event loop, take any value and any path, and decode tokens without naming an
  algorithm: the endpoints of `breastkit.server` and `breastkit.server.security` stand in their place;
- its DICOMweb store caches lists for hours, downloads programs, lists CT only, and reads a segmentation without looking
  where it lies: `breastkit.server.studies.study_images` and `breastkit.server.labels.saved_labels`;
- its bundle tasks put requests into configs, fail in ``Spacingd``, and write pictures as floating point:
  `breastkit.server.models.served_models`;
- its training splits anew at every run: `breastkit.server.models.label_training`.
"""

from __future__ import annotations

import importlib
import sys

_RENAMED = "pydicom._storage_sopclass_uids"


def prepare() -> None:
    """Makes MONAI Label importable."""
    # pydicom-seg, which MONAI Label imports at its start, looks for the module where pydicom 2 had it.
    if _RENAMED not in sys.modules:
        sys.modules[_RENAMED] = importlib.import_module("pydicom.uid")
