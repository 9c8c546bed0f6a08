"""What inference of the lesion detector writes for every study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine

from breastkit.dce.voxel_box import BOUNDS, Grid
from breastkit.detection.boxes_file import write_boxes
from breastkit.detection.find_lesions import lesions_in_breast, lesions_on_grid
from breastkit.errors import BreastkitError
from breastkit.images import read_volume
from breastkit.inference.inputs import Inputs
from breastkit.inference.readable_cases import ReadableCases
from breastkit.inference.results import Results, write_table

_COLUMNS = ("study", "lesion", "score", *BOUNDS, "slices")


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

    def __init__(
        self,
        output_dir: str | Path,
        *,
        inputs: Inputs,
        dataset: ReadableCases,
        breast_mask: str | Path | None = None,
        most: int | None = None,
    ) -> None:
        super().__init__(output_dir, inputs=inputs, dataset=dataset)
        self.most = None if most is None else int(most)
        self._masks = {item["name"]: _mask_of(item["name"], breast_mask, len(inputs.items)) for item in inputs.items}
        self._rows: list[dict[str, Any]] = []

    def start(self, engine: Engine) -> None:
        """Makes the folder and begins an empty table."""
        super().start(engine)
        self._rows = []
        self._write_table()

    def write_input(self, batch: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Writes the file of one study and the table so far."""
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
        lesions = lesions[: self.most]
        write_boxes(self.folder / f"{name}_boxes.json", scan.meta["filename_or_obj"], grid.shape, lesions)
        for number, lesion in enumerate(lesions, start=1):
            row = {"study": name, "lesion": number, "score": lesion.score, **lesion.box.bounds}
            self._rows.append({**row, "slices": len(lesion.parts)})
        self._write_table()

    def _write_table(self) -> None:
        write_table(self.folder / "detections.csv", self._rows, _COLUMNS)


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
