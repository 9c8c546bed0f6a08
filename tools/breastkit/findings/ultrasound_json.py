"""All that was found in an ultrasound picture, for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from breastkit.atomic import write_json
from breastkit.findings.study_findings import Model, PictureFindings
from breastkit.findings.ultrasound_views import rounded
from breastkit.findings.writers import Writer


class PictureFacts(Writer[PictureFindings]):
    """Writes ``x.json``: class, probabilities, measures of the mask, the other files, and the weights."""

    format: ClassVar[str] = "json"
    takes: ClassVar[type[PictureFindings]] = PictureFindings

    def write(self, findings: PictureFindings, files: Mapping[str, str]) -> None:
        """Writes the file."""
        facts = {
            "file": findings.file,
            **({} if findings.case is None else {"case": findings.case}),
            **described(findings),
            "seconds": round(findings.seconds, 3),
            "files": dict(files),
            "models": model_facts(findings.models),
        }
        write_json(self.folder / f"{findings.name}.json", facts)


def described(findings: PictureFindings) -> dict[str, Any]:
    """Returns what a reading says, as JSON holds it; places are those of the whole picture."""
    reading, share = findings.reading, findings.reading.relevance_in_lesion
    top, left = (part.start or 0 for part in findings.picture.window)
    shifts = {"x_min": left, "x_max": left, "y_min": top, "y_max": top}
    measures = {
        key: value + shifts.get(key, 0) if value is not None else None for key, value in reading.measures.items()
    }
    return {
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
        "note": " ".join(findings.doubts),
        "lesion": measures,
        "relevance_in_lesion": None if share is None else round(share, 4),
        "rows_and_columns": list(findings.picture.gray.shape),
    }


def model_facts(models: Sequence[Model]) -> dict[str, dict[str, Any]]:
    """Returns which weights read, and by which limits, by their roles."""
    return {
        model.role: {"architecture": model.architecture, "sha256": model.sha256[:12], **model.limits}
        for model in models
    }
