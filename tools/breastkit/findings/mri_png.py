"""The lesions of an MRI study as one picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from breastkit.findings.study_findings import MriFindings
from breastkit.findings.writers import Writer
from breastkit.images import write_png
from breastkit.inference.axial_view import AxialView
from breastkit.pictures import LESION, PREDICTION, grid

_TILE = 400


class MriOverlay(Writer[MriFindings]):
    """Writes ``overlay.png``: every lesion in its largest slice, with the breasts around it."""

    format: ClassVar[str] = "png"
    takes: ClassVar[type[MriFindings]] = MriFindings

    def files(self, findings: MriFindings) -> dict[str, str]:
        """Returns the name of the picture."""
        return {"overlay": "overlay.png"}

    def write(self, findings: MriFindings, files: Mapping[str, str]) -> None:
        """Draws the picture; where there is no lesion it shows the breasts."""
        titles, tiles = zip(*lesion_tiles(findings), strict=True)
        write_png(self.folder / files["overlay"], grid([list(tiles)], tile=_TILE, column_titles=list(titles)))


def lesion_tiles(findings: MriFindings) -> list[tuple[str, NDArray[np.uint8]]]:
    """Returns every lesion in its largest slice, with its title; where there is none, the breasts."""
    phases, lesions = findings.phases, findings.lesions
    titles = {str(n): f"lesion {n}, score {lesion.score:.2f}" for n, lesion in enumerate(lesions, start=1)}
    titles = titles or {"breast": "no lesion found"}
    outlines = {str(number): lesion.mask for number, lesion in enumerate(lesions, start=1)}
    masks = {"breast": findings.breast, **outlines, "any": findings.labels > 0}
    view = AxialView(phases.restore(phases.arrays[1]), phases.affine, masks)
    colours = [("breast", PREDICTION), ("any", LESION)]
    return [(title, view.picture(view.largest(name), colours)) for name, title in titles.items()]
