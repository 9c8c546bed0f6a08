"""Breast MRI phantoms: one study with its truth, and folders of them."""

from breastkit.phantoms.mri.case import MriPhantom, make_mri_phantom
from breastkit.phantoms.mri.files import write_mri_phantoms

__all__ = ["MriPhantom", "make_mri_phantom", "write_mri_phantoms"]
