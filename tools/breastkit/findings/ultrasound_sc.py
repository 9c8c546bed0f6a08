"""Key pictures of ultrasound as DICOM secondary captures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from breastkit.dicom.source_images import read_source_images
from breastkit.dicom.write_sc import write_key_picture
from breastkit.findings.study_findings import PictureFindings
from breastkit.findings.ultrasound_png import drawn
from breastkit.findings.writers import Writer

_NUMBERS = {"overlay": 1, "explanation": 2}


class PictureKeyPictures(Writer[PictureFindings]):
    """Writes ``dicom/x_overlay.dcm`` and, where there is a map of what mattered for the class, that, of every frame."""

    format: ClassVar[str] = "sc"
    takes: ClassVar[type[PictureFindings]] = PictureFindings
    of_dicom: ClassVar[bool] = True
    on_request: ClassVar[bool] = True

    def files(self, findings: PictureFindings) -> dict[str, str]:
        """Returns the names of the files."""
        explained = findings.reading.relevance is not None
        kinds = [kind for kind in _NUMBERS if explained or kind != "explanation"]
        return {f"key_{kind}": f"dicom/{findings.name}_{kind}.dcm" for kind in kinds}

    def write(self, findings: PictureFindings, files: Mapping[str, str]) -> None:
        """Writes the pictures."""
        (source,) = (Path(str(each)) for each in findings.images)
        images, frame = read_source_images(source), findings.frame or 0
        titles = {"overlay": "outline", "explanation": f"what mattered for {findings.reading.label}"}
        for kind, array in drawn(findings).items():
            write_key_picture(
                self.folder / files[f"key_{kind}"],
                array,
                images,
                uid_source=findings.uid_source,
                number=len(_NUMBERS) * frame + _NUMBERS[kind],
                title=f"{findings.file}: {titles[kind]}",
            )
