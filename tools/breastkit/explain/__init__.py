"""Why a network says what it says: maps of what it looked at, and checks that such maps mean something."""

from breastkit.explain.grad_cam import GradCamPlusPlus, last_map_layer, share_inside
from breastkit.explain.randomised import Cascade, map_correlation, randomise_from_the_top
from breastkit.explain.stage_relevance import StageRelevance, stage_layers

__all__ = [
    "Cascade",
    "GradCamPlusPlus",
    "StageRelevance",
    "last_map_layer",
    "map_correlation",
    "randomise_from_the_top",
    "share_inside",
    "stage_layers",
]
