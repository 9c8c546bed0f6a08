"""The lesions of an MRI study as one picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

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
        phases, lesions = findings.phases, findings.lesions
        titles = {str(n): f"lesion {n}, score {lesion.score:.2f}" for n, lesion in enumerate(lesions, start=1)}
        titles = titles or {"breast": "no lesion found"}
        outlines = {str(number): lesion.mask for number, lesion in enumerate(lesions, start=1)}
        masks = {"breast": findings.breast, **outlines, "any": findings.labels > 0}
        view = AxialView(phases.restore(phases.arrays[1]), phases.affine, masks)
        tiles = [view.picture(view.largest(name), [("breast", PREDICTION), ("any", LESION)]) for name in titles]
        write_png(self.folder / files["overlay"], grid([tiles], tile=_TILE, column_titles=list(titles.values())))
