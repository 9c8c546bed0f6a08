"""What was read of an MRI study, what is doubtful, and how much was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from breastkit.atomic import write_json
from breastkit.findings.study_findings import MriFindings
from breastkit.findings.writers import Writer


class MriFacts(Writer[MriFindings]):
    """Writes ``study.json``: the phases, what was left aside, doubts, volume of the breasts and number of lesions."""

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
            "breast_ml": round(float(millilitres), 1),
            "lesions": len(findings.lesions),
        }
        write_json(self.folder / files["facts"], facts)
