"""All that was found, for programs: ``findings.json``, whose form `findings.schema.json` beside this module defines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from breastkit.atomic import write_json
from breastkit.dce.correction import Motion
from breastkit.findings.study_findings import Model, MriFindings, PictureFindings, StudyFindings, StudyLesion
from breastkit.findings.ultrasound_views import Views, rounded
from breastkit.findings.writers import Writer

FILE = "findings.json"
FORMAT = "breastkit findings 1"
SCHEMA = Path(__file__).with_name("findings.schema.json")


class FindingsFile(Writer[StudyFindings]):
    """Writes ``findings.json``: a study with its lesions, or all pictures of a run."""

    format: ClassVar[str] = "json"
    takes: ClassVar[type[StudyFindings]] = StudyFindings

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._study: dict[str, Any] = {}
        self._pictures: list[dict[str, Any]] = []
        self._views = Views()
        self._shared: dict[str, Any] = {}

    def write(self, findings: StudyFindings, files: Mapping[str, str]) -> None:
        """Takes the findings in."""
        models = [model_record(model) for model in findings.models]
        self._shared = {"version": findings.package, "models": models}
        if isinstance(findings, MriFindings):
            self._study = {**described_study(findings), "files": dict(files)}
        elif isinstance(findings, PictureFindings):
            self._pictures.append({**described_picture(findings), "files": dict(files)})
            self._views.add(findings)

    def finish(self, problems: Sequence[str]) -> None:
        """Writes the file."""
        if self._study:
            found = {"kind": "mri", **self._shared, "study": self._study}
        else:
            found = {"kind": "us", **self._shared, "pictures": self._pictures, "cases": self._views.rows()}
        write_json(self.folder / FILE, {"format": FORMAT, **found, "problems": list(problems)})


def described_study(findings: MriFindings) -> dict[str, Any]:
    """Returns what was found in an MRI study, as JSON holds it; boxes are those of the study's own grid."""
    voxel_ml = float(np.prod(findings.phases.spacing)) / 1000
    return {
        "name": findings.name,
        "phases": [str(source) for source in findings.sources],
        "doubts": list(findings.doubts),
        "motion": [_motion(motion, findings.left_mm) for motion in findings.motions],
        "breasts": [
            {
                "side": side,
                "volume_ml": round(float(np.count_nonzero(mask)) * voxel_ml, 1),
                "glands": findings.tissue[side].rounded() if side in findings.tissue else None,
            }
            for side, mask in findings.breasts().items()
        ],
        "lesions": [_lesion(number, lesion) for number, lesion in enumerate(findings.lesions, start=1)],
    }


def _motion(motion: Motion | None, left_mm: float) -> dict[str, Any] | None:
    """Returns how a phase lay against the one that is outlined, and whether it was moved back."""
    if motion is None:
        return None
    turned, moved = round(motion.degrees, 2), round(motion.mean_mm, 2)
    return {"mean_mm": moved, "degrees": turned, "taken_out": motion.mean_mm > left_mm}


def _lesion(number: int, lesion: StudyLesion) -> dict[str, Any]:
    measurements = [{"name": one.name, "value": _short(one.value), "unit": one.unit} for one in lesion.measurements]
    return {
        "number": number,
        "score": round(lesion.score, 4),
        "side": lesion.side,
        "quadrant": lesion.quadrant,
        "clock": lesion.clock,
        "box": lesion.box.bounds,
        "measurements": measurements,
    }


def _short(value: float | str | None) -> float | str | None:
    return round(value, 4) if isinstance(value, float) else value or None


def described_picture(findings: PictureFindings) -> dict[str, Any]:
    """Returns what was found in a picture, as JSON holds it; places are those of the whole picture."""
    reading, share = findings.reading, findings.reading.relevance_in_lesion
    top, left = (part.start or 0 for part in findings.picture.window)
    shifts = {"x_min": left, "x_max": left, "y_min": top, "y_max": top}
    measures = {
        key: value + shifts.get(key, 0) if value is not None else None for key, value in reading.measures.items()
    }
    return {
        "file": findings.file,
        "case": findings.case,
        "class": reading.label,
        "suspicious": reading.suspicious,
        "probabilities": rounded(reading.probabilities),
        "uncertainty": round(reading.uncertainty, 4),
        "abstain": reading.abstain,
        "decided_by": reading.decided_by,
        "unfamiliar": reading.unfamiliar,
        "distance": None if reading.distance is None else round(reading.distance, 4),
        "familiar_up_to": None if reading.familiar_up_to is None else round(reading.familiar_up_to, 4),
        "quality": list(findings.quality),
        "doubts": list(findings.doubts),
        "lesion": measures,
        "relevance_in_lesion": None if share is None else round(share, 4),
        "rows_and_columns": list(findings.picture.gray.shape),
    }


def model_record(model: Model) -> dict[str, Any]:
    """Returns which weights took part, and by which limits they decided."""
    return {
        "role": model.role,
        "architecture": model.architecture,
        "sha256": model.sha256,
        "limits": dict(model.limits),
    }


def model_facts(models: Sequence[Model]) -> dict[str, dict[str, Any]]:
    """Returns which weights read, and by which limits, by their roles, as pages show it."""
    return {
        model.role: {"architecture": model.architecture, "sha256": model.sha256[:12], **model.limits}
        for model in models
    }
