"""How a structured report codes what is measured and judged of a finding.

Standard codes where there are any. The scheme 99BREASTKIT holds what no scheme of DICOM's context groups has: measures
of the curve of enhancement, and what a classifier says about its own answer.
"""

from __future__ import annotations

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

PRIVATE_SCHEME = "99BREASTKIT"


def _own(value: str, meaning: str) -> Code:
    return Code(value, PRIVATE_SCHEME, meaning)


MEASUREMENTS: dict[str, Code] = {
    "score": codes.DCM.CertaintyOfFinding,
    "volume_mm3": codes.SCT.Volume,
    "breast_ml": codes.DCM.VolumeOfBreast,
    "longest_diameter_mm": codes.IBSI.Maximum3DDiameterOfAMesh,
    "long_axis_mm": codes.SCT.LongAxis,
    "sphericity": codes.IBSI.Sphericity,
    "distance_to_skin_mm": codes.DCM.DistanceFromSkin,
    "distance_to_chest_wall_mm": codes.DCM.DistanceFromChestWall,
    "distance_to_nipple_mm": codes.DCM.DistanceFromNipple,
    "fgt_ml": codes.SCT.Volume,
    "fgt_percent": _own("fgt_percent", "Share of the breast that is fibroglandular tissue"),
    "bpe_mean": _own("bpe_mean", "Background parenchymal enhancement, mean"),
    "bpe_quartile": _own("bpe_quartile", "Background parenchymal enhancement, upper quarter"),
    "wash_in": _own("wash_in", "Relative enhancement in the first phase after contrast"),
    "wash_out": _own("wash_out", "Relative fall of signal, first to last phase after contrast"),
    "signal_enhancement_ratio": _own("ser", "Signal enhancement ratio"),
    "area_px": codes.SCT.Area,
    "area_mm2": codes.SCT.Area,
    "p_malignant": codes.DCM.ProbabilityOfCancer,
    "p_benign": _own("p_benign", "Probability of a benign finding"),
    "p_normal": _own("p_normal", "Probability of no finding"),
    "uncertainty": _own("uncertainty", "Uncertainty of the classifier, 0 to 1"),
}
EVALUATIONS: dict[str, Code] = {
    "kinetic_class": codes.RADLEX.EnhancementPattern,
    "class": Code("121077", "DCM", "Conclusion"),
    "suspicious": _own("suspicious", "Flagged by the operating point"),
    "abstain": _own("abstain", "Too uncertain to be relied on"),
}
ANSWERS: dict[str, Code] = {
    "persistent": codes.DCM.PersistentDelayedPhaseType1Curve,
    "plateau": codes.DCM.PlateauDelayedPhaseType2Curve,
    "washout": codes.DCM.WashoutDelayedPhaseType3Curve,
    "benign": codes.SCT.Benign,
    "malignant": codes.SCT.Malignant,
    "normal": codes.SCT.BreastNormal,
    "yes": codes.SCT.Yes,
    "no": codes.SCT.No,
}
UNITS: dict[str, Code] = {
    unit: Code(unit, "UCUM", meaning)
    for unit, meaning in {
        "1": "no units",
        "%": "Percent",
        "mm": "millimeter",
        "mm2": "square millimeter",
        "mm3": "cubic millimeter",
        "ml": "milliliter",
        "{pixels}": "Pixels",
    }.items()
}
