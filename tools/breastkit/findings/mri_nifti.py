"""The masks of an MRI study as NIfTI files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from breastkit.findings.study_findings import MriFindings
from breastkit.findings.writers import Writer
from breastkit.images import write_nifti


class MriMasks(Writer[MriFindings]):
    """Writes ``breast.nii.gz`` and ``lesions.nii.gz`` (0 is background, 1 the first lesion) on the study's grid."""

    format: ClassVar[str] = "nifti"
    takes: ClassVar[type[MriFindings]] = MriFindings

    def files(self, findings: MriFindings) -> dict[str, str]:
        """Returns the names of both files."""
        return {"breast": "breast.nii.gz", "lesions": "lesions.nii.gz"}

    def write(self, findings: MriFindings, files: Mapping[str, str]) -> None:
        """Writes both masks; their headers are those of the study's own files where it was read from NIfTI."""
        source = findings.phases.paths[0]
        like = source if source.is_file() else None
        write_nifti(self.folder / files["breast"], findings.breast, findings.phases.affine, like=like)
        write_nifti(self.folder / files["lesions"], findings.labels, findings.phases.affine, like=like)
