"""Running trained networks: one predictor for all bundles, and what is made of its outputs."""

from breastkit.inference.axial_view import AxialView
from breastkit.inference.backends import Backend, Precision
from breastkit.inference.candidate import find_candidate
from breastkit.inference.features import measure_candidate
from breastkit.inference.inputs import Inputs, find_inputs, patient_id
from breastkit.inference.predictor import Predictor
from breastkit.inference.readable_cases import ReadableCases
from breastkit.inference.tissue_results import TissueResults

__all__ = [
    "AxialView",
    "Backend",
    "Inputs",
    "Precision",
    "Predictor",
    "ReadableCases",
    "TissueResults",
    "find_candidate",
    "find_inputs",
    "measure_candidate",
    "patient_id",
]
