"""A breast MRI study as a lesion segmenter takes it: slices of its phases, regions to look at, and back to its grid."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, Transform
from monai.utils import TraceKeys, convert_to_tensor

from breastkit.bundle import Bundle
from breastkit.dce.phases import DEFAULT_CHANNELS, DcePhases, lesion_slices, mask_slices, read_phases, slice_boxes
from breastkit.dce.voxel_box import Grid
from breastkit.detection.boxes_file import Detection, read_boxes
from breastkit.errors import BreastkitError
from breastkit.images import read_volume
from breastkit.inference.mri_detection import LesionDetector
from breastkit.transforms.crop_to_box import region_around, whole
from breastkit.transforms.letterbox import Letterbox
from breastkit.transforms.letterbox_slices import unletterbox

TRUE_BOXES, DETECT = "true", "detect"


class LoadStudyd(MapTransform, InvertibleTransform):
    """Reads the phases of studies as slices ``(3, size, size, slices)`` from 0 to 1, the axial view in squares.

    Beside them it leaves the `study` itself (`DcePhases`), which `FindRegionsd` takes off again, the `scan`, the first
    phase after contrast on the study's own grid with its affine, and a `label` read where there is the path of a mask.
    The inverse brings volumes ``(channels, size, size, slices)`` back onto the study's grid.

    Args:
        keys: lists of paths, the phase before contrast first.
        image_size: side of the squares; that of the prepared slices a network was trained on.
        channels: what red, green and blue are.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        image_size: int = 224,
        channels: str = DEFAULT_CHANNELS,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_size, self.channels = int(image_size), channels

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with its study read."""
        results = dict(data)
        for key in self.key_iterator(results):
            phases = read_phases(results[key])
            results[key], results["study"] = self.squares(phases), phases
            scan = phases.restore(phases.arrays[1])[None]
            meta = {"filename_or_obj": str(phases.paths[0])}
            results["scan"] = MetaTensor(torch.from_numpy(scan), affine=torch.from_numpy(phases.affine), meta=meta)
            if isinstance(results.get("label"), str | Path):
                mask = read_volume(results["label"], mask=True).array
                if mask.shape != phases.shape:
                    raise BreastkitError(
                        f"{results['label']} has shape {mask.shape}, but the study {phases.paths[0]} has "
                        f"{phases.shape}; give the mask drawn on it."
                    )
                results["label"] = torch.from_numpy(mask[None])
        return results

    def squares(self, phases: DcePhases, *, only: Iterable[int] | None = None) -> MetaTensor:
        """Returns a study that was read as its slices.

        Args:
            phases: the study.
            only: the slices that are wanted; the others stay black.
        """
        squares, box = lesion_slices(phases, self.image_size, self.channels, only=only)
        tensor = torch.from_numpy(np.ascontiguousarray(squares.transpose(3, 1, 2, 0))).float() / 255
        result = MetaTensor(tensor)
        info = {
            "letterbox": asdict(box),
            "affine": phases.affine.tolist(),
            "shape": list(phases.shape),
        }
        self.push_transform(result, orig_size=tuple(phases.shape), extra_info=info)
        return result

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with its volumes on the study's grid."""
        results = dict(data)
        for key in self.key_iterator(results):
            info = self.pop_transform(results, key)[TraceKeys.EXTRA_INFO]
            plain = convert_to_tensor(results[key]).cpu().numpy()
            grid = Grid.of(info["shape"], info["affine"])
            box = Letterbox(**info["letterbox"])
            volumes = [grid.restore(unletterbox(volume.transpose(2, 0, 1), box)) for volume in plain]
            results[key] = MetaTensor(torch.from_numpy(np.stack(volumes)), affine=torch.from_numpy(grid.affine))
        return results


class FindRegionsd(Transform):
    """Says where in a study that `LoadStudyd` read a segmenter is to look: ``regions``, rows of slice, top, left, side.

    Args:
        boxes: ``true`` takes the boxes of the true lesions, of evaluation; a folder or file those that a detector wrote
            (``x_boxes.json``); ``detect`` or None runs the detection bundle.
        detection: False looks at whole slices instead.
        margin: around a box, as a share of its longer side.
        most: how many lesions a study may have; those with the highest scores are taken.
        bundle: the detection bundle; by default the one there is.

    Attributes:
        detector: which one is asked; unless one was put there, the bundle's is opened as soon as it is needed.
    """

    def __init__(
        self,
        *,
        boxes: str | Path | None = None,
        detection: bool = True,
        margin: float = 0.5,
        most: int | None = None,
        bundle: Bundle | None = None,
    ) -> None:
        self.bundle = bundle
        self.boxes, self.detection, self.margin, self.most = boxes, detection, float(margin), most
        self.detector: LesionDetector | None = None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with its regions."""
        results = dict(data)
        phases: DcePhases = results.pop("study")
        squares = results["image"]
        size = squares.shape[1]
        if not self.detection:
            held = squares.as_tensor().flatten(0, 2).amax(0) > 0
            regions = [(number, *whole(size)) for number in held.nonzero().flatten().tolist()]
        else:
            found = self._boxes(results, phases, size)
            regions = [(number, *region_around(box, size, margin=self.margin)) for number, box in found]
        results["regions"] = np.asarray(regions, dtype=np.int64).reshape(-1, 4)
        return results

    def _boxes(self, data: Mapping[Hashable, Any], phases: DcePhases, size: int) -> list[tuple[int, list[float]]]:
        if str(self.boxes) == TRUE_BOXES:
            masks = mask_slices(phases.axial(np.asarray(data["label"][0])), phases.grid.letterbox(size))
            return [(number, box) for number, mask in enumerate(masks) for box in slice_boxes(mask)]
        if self.boxes is None or str(self.boxes) == DETECT:
            self.detector = self.detector or LesionDetector(bundle=self.bundle)
            found = self.detector(phases)
        else:
            found = read_boxes(boxes_file(self.boxes, str(data["name"])), phases.grid)
        return boxes_on_squares(found[: self.most], phases, size)


def boxes_file(place: str | Path, name: str) -> Path:
    """Returns the detector's file of a study, by the study's name, where a folder is given.

    A case list names patients as folders are named, inference as files are; MAMA-MIA has DUKE_001/duke_001_0000.nii.gz.
    """
    place = Path(place)
    if not place.is_dir():
        return place
    path = place / f"{name}_boxes.json"
    alike = [other for other in place.glob("*_boxes.json") if other.name.lower() == path.name.lower()]
    return alike[0] if len(alike) == 1 and not path.is_file() else path


def boxes_on_squares(lesions: Sequence[Detection], phases: DcePhases, size: int) -> list[tuple[int, list[float]]]:
    """Returns the boxes of lesions, slice by slice, in pixels of the squares that the slices are fitted into.

    Args:
        lesions: on the study's own grid.
        phases: the study.
        size: side of the squares.
    """
    square = phases.grid.letterbox(size)
    down, across = square.scaled[0] / square.rows, square.scaled[1] / square.columns
    top, left = (part.start for part in square.window)
    found = []
    for box in (box.on(phases.grid.axial) for lesion in lesions for box in lesion.boxes):
        (first, row0, column0), (last, row1, column1) = box.low, box.high
        edges = [left + column0 * across, top + row0 * down, left + (column1 + 1) * across, top + (row1 + 1) * down]
        found += [(number, edges) for number in range(first, last + 1)]
    return found
