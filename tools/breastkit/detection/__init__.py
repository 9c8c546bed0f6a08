"""YOLO as a bundle's network: the only part that imports ultralytics (AGPL-3.0)."""

from breastkit.detection.average_precision import AveragePrecision, average_precision, match_boxes
from breastkit.detection.boxes import compared, overlap, pick_boxes
from breastkit.detection.boxes_file import Detection, read_boxes, write_boxes
from breastkit.detection.candidates import Candidate, LinkBoxesd, find_candidates, link_boxes
from breastkit.detection.find_lesions import (
    detect_lesions,
    lesions_in_breast,
    lesions_on_grid,
    part_around,
)
from breastkit.detection.score_search import ScoreSearch
from breastkit.detection.slices import (
    LesionSlices,
    LoadLesionSliced,
    PadBoxesd,
    RandBoxAffined,
    RandChannelContrastd,
    RandWindows,
)
from breastkit.detection.yolo import StartWeights, YoloDetector, YoloLoss, start_from

__all__ = [
    "AveragePrecision",
    "Candidate",
    "Detection",
    "LesionSlices",
    "LinkBoxesd",
    "LoadLesionSliced",
    "PadBoxesd",
    "RandBoxAffined",
    "RandChannelContrastd",
    "RandWindows",
    "ScoreSearch",
    "StartWeights",
    "YoloDetector",
    "YoloLoss",
    "average_precision",
    "compared",
    "detect_lesions",
    "find_candidates",
    "lesions_in_breast",
    "lesions_on_grid",
    "link_boxes",
    "match_boxes",
    "overlap",
    "part_around",
    "pick_boxes",
    "read_boxes",
    "start_from",
    "write_boxes",
]
