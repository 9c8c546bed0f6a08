"""What was read of an MRI study, what is doubtful, and how much was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from breastkit.atomic import write_json
from breastkit.dce.correction import Motion
from breastkit.findings.study_findings import MriFindings
from breastkit.findings.writers import Writer


class MriFacts(Writer[MriFindings]):
    """Writes ``study.json``: phases, motion between them, doubts, volume of the breasts, number of lesions."""

    format: ClassVar[str] = "json"
    takes: ClassVar[type[MriFindings]] = MriFindings

    def files(self, findings: MriFindings) -> dict[str, str]:
        """Returns the name of the file."""
        return {"facts": "study.json"}

    def write(self, findings: MriFindings, files: Mapping[str, str]) -> None:
        """Writes the file."""
        millilitres = np.count_nonzero(findings.breast) * np.prod(findings.phases.spacing) / 1000
        facts = {
            "study": findings.name,
            "phases": [str(phase) for phase in findings.sources],
            "skipped": [[path.name, reason] for path, reason in findings.skipped],
            "doubts": list(findings.doubts),
            "motion": [_motion(motion, findings.left_mm) for motion in findings.motions],
            "breast_ml": round(float(millilitres), 1),
            "lesions": len(findings.lesions),
        }
        write_json(self.folder / files["facts"], facts)


def _motion(motion: Motion | None, left_mm: float) -> dict[str, Any] | None:
    """Returns how a phase lay against the one that is outlined, and whether it was moved back."""
    if motion is None:
        return None
    turned, moved = round(motion.degrees, 2), round(motion.mean_mm, 2)
    return {"mean_mm": moved, "degrees": turned, "taken_out": motion.mean_mm > left_mm}
