"""Which image to label next: how unsure a model is, how well the labelled ones cover the rest, and both together."""

from breastkit.active_learning.choosing import Choice, Pool, choose
from breastkit.active_learning.features import deepest_features
from breastkit.active_learning.uncertainty import uncertainty_of

__all__ = ["Choice", "Pool", "choose", "deepest_features", "uncertainty_of"]
