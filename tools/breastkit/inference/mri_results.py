"""What inference of the breast MRI lesion segmenter writes for every study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from breastkit.images import write_png
from breastkit.inference.axial_view import AxialView
from breastkit.inference.results import Results, write_on_grid
from breastkit.pictures import LESION, grid


@dataclass(eq=False)
class LesionResults(Results):
    """Handler that writes the lesions of every study on the study's own grid.

    For a study ``x``: ``x_lesion.nii.gz`` and, if wanted, ``x_overlay.png``. For all of them ``predictions.csv``
    (``study, mask, regions, voxels, volume_mm3``; `regions` counts the squares that were looked at) and
    ``problems.csv`` where inputs were left out. The batch must hold the ``scan`` and the ``regions``, the output the
    mask ``pred``.

    Args:
        output_dir: the folder to write to.
        inputs: what inference was given.
        dataset: knows which inputs could not be used.
        pictures: write the pictures.
    """

    columns = ("study", "mask", "regions", "voxels", "volume_mm3")

    pictures: bool = True

    def write_input(self, batch: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Writes the files of one study and adds its row."""
        name, scan = str(batch["name"]), batch["scan"]
        affine = np.asarray(scan.affine, dtype=np.float64)
        mask = output["pred"][0].cpu().numpy() > 0
        file = f"{name}_lesion.nii.gz"
        write_on_grid(self.folder / file, mask, scan)
        voxels = int(np.count_nonzero(mask))
        volume = round(voxels * abs(float(np.linalg.det(affine[:3, :3]))), 3)
        row = {"study": name, "mask": file, "regions": len(batch["regions"]), "voxels": voxels, "volume_mm3": volume}
        self.rows.append(row)
        if self.pictures:
            view = AxialView(scan[0].cpu().numpy(), affine, {"lesion": mask})
            slices = sorted({*view.spread("lesion", 3), view.largest("lesion")})
            tiles = [view.picture(k, outlined=[("lesion", LESION)]) for k in slices]
            write_png(self.folder / f"{name}_overlay.png", grid([tiles], tile=320, row_titles=[name]))
