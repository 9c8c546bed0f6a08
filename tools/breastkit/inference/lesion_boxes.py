"""What inference of the lesion detector writes for every study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ignite.engine import Engine

from breastkit.dce.voxel_box import BOUNDS, Grid
from breastkit.detection.boxes_file import write_boxes
from breastkit.detection.find_lesions import lesions_in_breast, lesions_on_grid
from breastkit.errors import BreastkitError
from breastkit.images import read_volume
from breastkit.inference.results import Results


@dataclass(eq=False)
class LesionBoxes(Results):
    """Handler that writes the lesion candidates of every study, on the study's own grid.

    For a study ``x``: ``x_boxes.json`` (`breastkit.detection.write_boxes`). For all of them: ``detections.csv``, one
    row a candidate, and ``problems.csv`` where studies were left out. The batch must hold ``image`` and ``scan`` as
    `breastkit.inference.LoadStudyd` gives them, the output the candidates ``pred``.

    Args:
        output_dir: the folder to write to.
        inputs: what inference was given.
        dataset: knows which studies could not be used.
        breast_mask: candidates outside this breast mask are left out: a file for a single study, or a folder with
            ``x_breast.nii.gz`` for every study ``x``; None looks everywhere.
        most: so many candidates of a study at most are told.
    """

    table: ClassVar[str] = "detections.csv"
    columns = ("study", "lesion", "score", *BOUNDS, "slices")

    breast_mask: str | Path | None = None
    most: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [item["name"] for item in self.inputs.items]
        self._masks = {name: _mask_of(name, self.breast_mask, len(names)) for name in names}

    def start(self, engine: Engine) -> None:
        """Makes the folder and begins an empty table."""
        super().start(engine)
        self.write_table()

    def write_input(self, batch: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Writes the file of one study and adds its rows."""
        name = batch["name"]
        scan = batch["scan"]
        grid = Grid.of(scan.shape[1:], scan.affine)
        lesions = lesions_on_grid(output["pred"], grid.letterbox(batch["image"].shape[1]), grid)
        path = self._masks[name]
        if path is not None:
            breast = read_volume(path, mask=True).array
            if breast.shape != grid.shape:
                raise BreastkitError(f"{path} has shape {breast.shape} but {name} {grid.shape}; make one for it.")
            lesions = lesions_in_breast(lesions, breast)
        lesions = lesions[: None if self.most is None else int(self.most)]
        write_boxes(self.folder / f"{name}_boxes.json", scan.meta["filename_or_obj"], grid.shape, lesions)
        for number, lesion in enumerate(lesions, start=1):
            row = {"study": name, "lesion": number, "score": lesion.score, **lesion.box.bounds}
            self.rows.append({**row, "slices": len(lesion.parts)})


def _mask_of(name: str, place: str | Path | None, studies: int) -> Path | None:
    if place is None:
        return None
    place = Path(place)
    path = place / f"{name}_breast.nii.gz" if place.is_dir() else place
    if not path.is_file():
        raise BreastkitError(f"{path} does not exist; make breast masks with the tissue bundle, or leave them out.")
    if path == place and studies > 1:
        raise BreastkitError(f"{path} is one mask for {studies} studies; give a folder with one for each.")
    return path
