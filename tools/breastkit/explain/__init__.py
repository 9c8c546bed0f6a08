"""Why a network says what it says: maps of what it looked at, and checks that such maps mean something."""

from breastkit.explain.grad_cam import GradCamPlusPlus, last_map_layer, share_inside
from breastkit.explain.randomised import Cascade, map_correlation, randomise_from_the_top

__all__ = [
    "Cascade",
    "GradCamPlusPlus",
    "last_map_layer",
    "map_correlation",
    "randomise_from_the_top",
    "share_inside",
]
