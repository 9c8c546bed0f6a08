"""Running trained networks: one predictor for all bundles, and what is made of its outputs."""

from breastkit.inference.axial_view import AxialView
from breastkit.inference.backends import Backend, Precision
from breastkit.inference.candidate import find_candidate
from breastkit.inference.features import measure_candidate
from breastkit.inference.flip_averaging import FlipAveraging
from breastkit.inference.inputs import Inputs, find_inputs
from breastkit.inference.members import Members, Opinions
from breastkit.inference.picture_outputs import PictureOutputs
from breastkit.inference.predictor import Predictor
from breastkit.inference.readable_cases import ReadableCases
from breastkit.inference.results import Results
from breastkit.inference.tissue_results import TissueResults

__all__ = [
    "AxialView",
    "Backend",
    "FlipAveraging",
    "Inputs",
    "Members",
    "Opinions",
    "PictureOutputs",
    "Precision",
    "Predictor",
    "ReadableCases",
    "Results",
    "TissueResults",
    "find_candidate",
    "find_inputs",
    "measure_candidate",
]
