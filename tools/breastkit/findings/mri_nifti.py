"""The masks of an MRI study as NIfTI files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from numpy.typing import NDArray

from breastkit.findings.study_findings import MriFindings
from breastkit.findings.writers import Writer
from breastkit.images import write_nifti


class MriMasks(Writer[MriFindings]):
    """Writes ``breast``, ``sides`` (1 right, 2 left), ``fgt`` and ``lesions`` (1 the first) as ``.nii.gz``.

    All lie on the study's grid.
    """

    format: ClassVar[str] = "nifti"
    takes: ClassVar[type[MriFindings]] = MriFindings

    def files(self, findings: MriFindings) -> dict[str, str]:
        """Returns the names of the files."""
        return {name: f"{name}.nii.gz" for name in _volumes(findings)}

    def write(self, findings: MriFindings, files: Mapping[str, str]) -> None:
        """Writes the masks; their headers are those of the study's own files where it was read from NIfTI."""
        source = findings.phases.paths[0]
        like = source if source.is_file() else None
        for name, volume in _volumes(findings).items():
            write_nifti(self.folder / files[name], volume(), findings.phases.affine, like=like)


def _volumes(findings: MriFindings) -> dict[str, Callable[[], NDArray[Any]]]:
    """Returns what makes the volumes, by name: one after the other, so that not all of them are in memory."""
    volumes: dict[str, Callable[[], NDArray[Any]]] = {
        "breast": lambda: findings.breast,
        "sides": lambda: findings.sides,
        "lesions": lambda: findings.labels,
    }
    glands = findings.glands
    return volumes if glands is None else {**volumes, "fgt": lambda: glands}
