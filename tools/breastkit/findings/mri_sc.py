"""Key pictures of an MRI study as DICOM secondary captures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from breastkit.dicom.write_sc import write_key_picture
from breastkit.findings.mri_png import lesion_tiles
from breastkit.findings.study_findings import MriFindings
from breastkit.findings.writers import Writer


class MriKeyPictures(Writer[MriFindings]):
    """Writes ``dicom/key_1.dcm`` and so on: every lesion in its largest slice, with the breasts around it."""

    format: ClassVar[str] = "sc"
    takes: ClassVar[type[MriFindings]] = MriFindings
    of_dicom: ClassVar[bool] = True
    on_request: ClassVar[bool] = True

    def files(self, findings: MriFindings) -> dict[str, str]:
        """Returns the names of the files."""
        return {f"key_{number}": f"dicom/key_{number}.dcm" for number in range(1, max(len(findings.lesions), 1) + 1)}

    def write(self, findings: MriFindings, files: Mapping[str, str]) -> None:
        """Writes the pictures."""
        for number, (title, tile) in enumerate(lesion_tiles(findings), start=1):
            write_key_picture(
                self.folder / files[f"key_{number}"],
                tile,
                findings.source_images[0],
                uid_source=findings.uid_source,
                number=number,
                title=title,
            )
