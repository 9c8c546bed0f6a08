"""What `breastkit run` writes of a study or picture as one file: SEG, SR and the report."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from breastkit.findings.study_findings import StudyFindings
from breastkit.findings.writers import Outputs, chosen_writers

_FORMATS = "seg,sr,pdf,html,json"


def write_findings_archive(found: Iterable[StudyFindings], folder: Path) -> Path:
    """Writes a zip with the DICOM objects, the report as page and PDF, and ``findings.json``.

    What refers to DICOM images is left out where the images are none.

    Args:
        found: of one study, or of the frames of a clip; at least one.
        folder: an empty one.

    Raises:
        BreastkitError: if something cannot be written.
    """
    outputs: Outputs | None = None
    for findings in found:
        outputs = outputs or Outputs(folder / "findings", chosen_writers(type(findings), _FORMATS))
        outputs.write(findings)
    if outputs is None:
        raise ValueError("there are no findings to write")
    outputs.finish()
    path = folder / "findings.zip"
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for file in sorted(one for one in outputs.folder.rglob("*") if one.is_file()):
            archive.write(file, file.relative_to(outputs.folder))
    return path
