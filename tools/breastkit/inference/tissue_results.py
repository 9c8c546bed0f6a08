"""What inference of the breast tissue bundle writes for every scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from ignite.engine import Engine
from numpy.typing import NDArray

from breastkit.images import write_png
from breastkit.inference.axial_view import AxialView
from breastkit.inference.candidate import find_candidate
from breastkit.inference.features import FEATURES, measure_candidate
from breastkit.inference.results import Results, write_on_grid
from breastkit.inference.surface_view import surface_picture
from breastkit.pictures import LESION, PREDICTION, grid
from breastkit.tables import write_table

_ROWS = 12
_COLUMNS = 5


@dataclass(eq=False)
class TissueResults(Results):
    """Handler that writes, on every scan's own grid, the breast mask, the lesion candidate in it, and pictures.

    For a scan ``x``: ``x_breast.nii.gz``, ``x_candidate.nii.gz``, ``x_overlay.png`` (slices), ``x_surface.png`` (the
    breasts in 3D) and, where the postprocessing kept it, ``x_probability.nii.gz``. For all of them: ``features.csv``,
    ``orientation.csv`` (what the intensity rules said of each scan), ``predictions.png`` (scans by their consecutive
    middle slices) and ``problems.csv`` where inputs were left out. The batch must hold the ``scan`` as it was read, the
    output the mask ``pred``.

    Args:
        output_dir: the folder to write to.
        inputs: what inference was given.
        dataset: knows which inputs could not be used.
        percentile: the candidate's voxels are brighter than this percentile of the breast.
        pictures: write the pictures.
    """

    outputs = ("_breast", "_candidate", "_probability")
    table: ClassVar[str] = "features.csv"
    columns = ("patient_id", "scan", *FEATURES)

    percentile: float = 98.0
    pictures: bool = True

    def start(self, engine: Engine) -> None:
        """Makes the folder and begins empty tables."""
        super().start(engine)
        self._orientations: list[dict[str, Any]] = []
        self._strips: list[tuple[str, list[NDArray[Any]]]] = []

    def finish(self, engine: Engine) -> None:
        """Writes what belongs to all scans."""
        for first in range(0, len(self._strips), _ROWS):
            strips = self._strips[first : first + _ROWS]
            number = f"_{first // _ROWS + 1}" if first else ""
            picture = grid([pictures for _, pictures in strips], row_titles=[name for name, _ in strips])
            write_png(self.folder / f"predictions{number}.png", picture)
        super().finish(engine)

    def write_input(self, batch: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Writes the files of one scan and adds its rows."""
        scan, affine = batch["scan"][0].cpu().numpy(), np.asarray(batch["scan"].affine, dtype=np.float64)
        breast = output["pred"][0].cpu().numpy() > 0
        candidate = find_candidate(scan, breast, percentile=self.percentile)
        name = batch["name"]
        volumes = {"_breast": breast, "_candidate": candidate}
        if "probability" in output:
            volumes["_probability"] = output["probability"][0].cpu().numpy().astype(np.float32)
        for end, volume in volumes.items():
            write_on_grid(self.folder / f"{name}{end}.nii.gz", volume, batch["scan"])
        features = measure_candidate(scan, candidate, voxel_mm3=abs(np.linalg.det(affine[:3, :3])))
        self.rows.append({"patient_id": batch["patient_id"], "scan": name, **features})
        self._orientations.append({"scan": name, **orientation_row(batch["image"].meta)})
        write_table(self.folder / "orientation.csv", self._orientations)
        if self.pictures:
            write_png(self.folder / f"{name}_surface.png", surface_picture(breast, affine, candidate))
            self._draw(name, AxialView(scan, affine, {"breast": breast, "candidate": candidate}))

    def _draw(self, name: str, view: AxialView) -> None:
        outlined, filled = [("breast", PREDICTION)], [("candidate", LESION)]
        slices = sorted({*view.spread("breast", 5), view.largest("candidate")})
        tiles = [view.picture(k, outlined, filled) for k in slices]
        rows = [tiles[:3], tiles[3:]]
        write_png(self.folder / f"{name}_overlay.png", grid([row for row in rows if row], tile=320, row_titles=[name]))
        self._strips.append((name, [view.picture(k, outlined, filled) for k in view.middle(_COLUMNS)]))


def orientation_row(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the orientation decision of a volume's metadata as one flat row."""
    decision = dict(meta.get("orientation_decision") or {})
    row = {key: decision[key] for key in ("mode", "header") if key in decision}
    for axis in ("rows", "slices"):
        for key in ("wrong", "flipped"):
            if axis in decision:
                row[f"{axis}_{key}"] = bool(decision[axis][key])
    return row
