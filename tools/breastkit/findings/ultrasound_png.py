"""What was found in an ultrasound picture as pictures beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from breastkit.findings.study_findings import PictureFindings
from breastkit.findings.writers import Writer
from breastkit.images import write_png
from breastkit.pictures import PREDICTION, heat, outline, overlay

KINDS = ("mask", "overlay", "explanation")


class PictureOverlays(Writer[PictureFindings]):
    """Writes ``x_mask.png``, ``x_overlay.png`` and, where there is a map of what mattered for the class, that."""

    format: ClassVar[str] = "png"
    takes: ClassVar[type[PictureFindings]] = PictureFindings

    def files(self, findings: PictureFindings) -> dict[str, str]:
        """Returns the names of the pictures."""
        explained = findings.reading.relevance is not None
        return {kind: f"{findings.name}_{kind}.png" for kind in KINDS if explained or kind != "explanation"}

    def write(self, findings: PictureFindings, files: Mapping[str, str]) -> None:
        """Writes the pictures."""
        for kind, array in {"mask": findings.mask * np.uint8(255), **drawn(findings)}.items():
            write_png(self.folder / files[kind], array)


def drawn(findings: PictureFindings) -> dict[str, NDArray[Any]]:
    """Returns the picture with the lesion tinted, and, where it is known, with what mattered for the class."""
    gray, mask, relevance = findings.picture.gray, findings.mask, findings.reading.relevance
    pictures = {"overlay": overlay(gray, mask, PREDICTION)}
    if relevance is not None:
        width = max(1, round(max(gray.shape) / 400))
        shown = heat(gray, findings.picture.on_whole(relevance))
        pictures["explanation"] = outline(shown, mask, PREDICTION, width=width)
    return pictures
