"""Running trained networks: one predictor for all bundles, and what is made of its outputs."""

from breastkit.inference.backends import Backend, Precision
from breastkit.inference.predictor import Predictor

__all__ = ["Backend", "Precision", "Predictor"]
