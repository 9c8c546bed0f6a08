"""Scans brought to one frame: by their header, and by what they show where headers lie."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import TraceKeys, convert_to_tensor
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool3d

from breastkit.errors import BreastkitError

# Columns from the patient's right to left, rows from back to front, slices towards the head.
CANONICAL = ("L", "A", "S")
MODES = ("auto", "correct", "report", "off")
_MEASURES = ("mean", "median", "cleft")
_AXES = {"columns": 0, "rows": 1, "slices": 2}

# One rule an axis; see `Rule`. In the canonical frame the upper half of a slice is the back, the lower half the front.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # Air reaches deeper between the breasts than beside them, while a back is flat; and behind the chest wall the liver
    # end is brighter than the lung end. Medians ignore the heart and its vessels.
    "default": {
        "rows": {
            "measure": "cleft",
            "first": {"columns": (20, 80), "rows": (0, 100)},
            "second": {"columns": (20, 80), "rows": (100, 0)},
            "larger": "second",
            "blocks": (48, 48, 24),
        },
        "slices": {
            "measure": "median",
            "first": {"columns": (20, 80), "rows": (10, 50), "slices": (0, 25)},
            "second": {"columns": (20, 80), "rows": (10, 50), "slices": (75, 100)},
            "larger": "first",
            "blocks": (48, 48, 24),
        },
    },
    # For sequences with the breasts brighter than the chest on high slices; not so on Duke.
    "original": {
        "rows": {
            "measure": "mean",
            "first": {"rows": (0, 50), "slices": 90},
            "second": {"rows": (50, 100), "slices": 90},
            "larger": "second",
        },
        "slices": {"measure": "mean", "first": {"slices": 10}, "second": {"slices": 90}, "larger": "first"},
    },
}


@dataclass(frozen=True)
class Rule:
    """Compares two regions of a volume in the canonical frame; an axis is flipped when the wrong one has more.

    A region gives percentages along ``columns``, ``rows`` and ``slices``: one number for a single position, or a
    range; a range that falls is looked at from its far end.

    Attributes:
        first: a region.
        second: the region it is compared with.
        larger: which of them, ``first`` or ``second``, has the larger value when the axis is right.
        measure: ``mean``, ``median``, or ``cleft``: how much deeper air reaches into the body in the middle of the
            region's columns than where it is shallowest on both sides, as a share of the region's rows.
        blocks: columns, rows and slices the volume is averaged to beforehand, against noise; as it is by default.
        air: values up to this percentage of the range of a volume are air.
    """

    first: Mapping[str, Any]
    second: Mapping[str, Any]
    larger: str
    measure: str = "mean"
    blocks: tuple[int, int, int] | None = None
    air: float = 4.0

    def __post_init__(self) -> None:
        if self.measure not in _MEASURES:
            raise BreastkitError(f"An orientation rule measures {', '.join(_MEASURES)}, not {self.measure}; change it.")
        if self.larger not in ("first", "second"):
            raise BreastkitError(f"The larger region of an orientation rule is first or second, not {self.larger}.")
        for region in (self.first, self.second):
            if unknown := set(region) - set(_AXES):
                raise BreastkitError(f"A region has columns, rows and slices, not {', '.join(unknown)}; change it.")

    def values(self, volume: torch.Tensor) -> tuple[float, float]:
        """Returns what is measured in the first and the second region of a volume (column, row, slice)."""
        if self.blocks is not None:
            # Pooled in the order slices lie in memory.
            pooled = adaptive_avg_pool3d(volume.permute(2, 1, 0)[None], self.blocks[::-1])
            volume = pooled[0].permute(2, 1, 0)
        array = volume.numpy()
        return self._measured(array, self.first), self._measured(array, self.second)

    def _measured(self, volume: NDArray[Any], region: Mapping[str, Any]) -> float:
        part = volume[tuple(_span(region.get(name, (0, 100)), volume.shape[axis]) for name, axis in _AXES.items())]
        if self.measure == "mean":
            return float(part.mean(dtype=np.float64))
        if self.measure == "median":
            return float(np.median(part))
        low, high = np.percentile(volume, (2, 95))
        body = part > low + self.air / 100 * (high - low)
        depth = np.where(body.any(axis=1), body.argmax(axis=1), body.shape[1]) / body.shape[1]
        return float(_cleft(depth).mean())


def _cleft(depth: NDArray[Any]) -> NDArray[Any]:
    """Returns by slice how much deeper (column, slice) depths are in the middle seventh than near the sides."""
    columns = len(depth)
    middle = depth[columns * 3 // 7 : columns - columns * 3 // 7].mean(axis=0)
    side = columns * 5 // 14
    cleft: NDArray[Any] = middle - (depth[:side].min(axis=0) + depth[-side:].min(axis=0)) / 2
    return cleft


def _span(percent: Any, length: int) -> slice:
    if isinstance(percent, int | float):
        position = int(percent / 100 * (length - 1))
        return slice(position, position + 1)
    start, stop = (round(end / 100 * length) for end in percent)
    if start < stop:
        return slice(start, stop)
    return slice(start - 1, stop - 1 if stop else None, -1) if start > stop else slice(start, start + 1)


@dataclass(frozen=True)
class Decision:
    """What the rules say about a volume in the canonical frame.

    Attributes:
        values: by axis, what was measured in the first and the second region.
        wrong: by axis, whether the rule calls it flipped.
    """

    values: dict[str, tuple[float, float]] = field(default_factory=dict)
    wrong: dict[str, bool] = field(default_factory=dict)


def read_preset(preset: str | Mapping[str, Mapping[str, Any]]) -> dict[str, Rule]:
    """Returns the rules of a preset by the axis they look at, rows before slices.

    Args:
        preset: a name in `PRESETS`, or rules written like those.

    Raises:
        BreastkitError: if there is no such preset or a rule makes no sense.
    """
    if isinstance(preset, str):
        if preset not in PRESETS:
            raise BreastkitError(f"There is no orientation preset '{preset}'; choose one of {', '.join(PRESETS)}.")
        preset = PRESETS[preset]
    if unknown := set(preset) - {"rows", "slices"}:
        raise BreastkitError(f"Orientation rules look at rows and slices, not {', '.join(unknown)}; change the preset.")
    try:
        return {axis: Rule(**preset[axis]) for axis in ("rows", "slices") if axis in preset}
    except TypeError as error:
        raise BreastkitError(f"An orientation rule lacks a part or has an unknown one ({error}); change it.") from error


def decide_orientation(volume: torch.Tensor, rules: Mapping[str, Rule]) -> Decision:
    """Applies rules to a volume (column, row, slice) that its header brought to the canonical frame.

    Slices are judged with the rows as the first rule would have them. A tie keeps what the header says.
    """
    decision = Decision()
    for axis, rule in rules.items():
        turned = [_AXES[name] for name, wrong in decision.wrong.items() if wrong]
        first, second = rule.values(volume.flip(turned) if turned else volume)
        decision.values[axis] = (first, second)
        decision.wrong[axis] = second > first if rule.larger == "first" else first > second
    return decision


def canonical_orientation(affine: NDArray[Any]) -> NDArray[Any]:
    """Returns nibabel's orientation array that brings voxels with this affine to the canonical frame."""
    target = nibabel.orientations.axcodes2ornt(CANONICAL)
    turn: NDArray[Any] = nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), target)
    return turn


def reorient(volume: torch.Tensor, orientation: NDArray[Any]) -> torch.Tensor:
    """Permutes and flips the last three axes of a volume (channel, i, j, k) as nibabel does for arrays."""
    flipped = [1 + axis for axis in range(3) if orientation[axis, 1] < 0]
    volume = volume.flip(flipped) if flipped else volume
    order = np.argsort(orientation[:, 0])
    return volume.permute(0, *(1 + int(axis) for axis in order))


class OrientBreastd(MapTransform, InvertibleTransform):
    """Brings scans to the canonical frame: columns from right to left, rows from back to front, slices to the head.

    The affine decides first. In sets whose headers lie, intensity rules then find flipped rows and slices (see
    `PRESETS`). The decision is taken on the first key and holds for all of them; it is kept as
    ``orientation_decision`` among the metadata, and the inverse undoes it. The affine follows the voxels, so that world
    positions stay what the header says.

    Args:
        keys: the volumes, the scan first.
        mode: ``correct`` does what the rules say, ``report`` only records it, ``off`` takes the header's word; ``auto``
            corrects files and only reports on DICOM series, whose headers the scanner wrote.
        preset: the rules, by name or written out like `PRESETS`.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        mode: str = "correct",
        preset: str | Mapping[str, Mapping[str, Any]] = "default",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if mode not in MODES:
            raise BreastkitError(f"The orientation mode is one of {', '.join(MODES)}, not {mode}.")
        self.mode = mode
        self.preset = preset
        self.rules = read_preset(preset)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with its volumes in the canonical frame.

        Raises:
            BreastkitError: if the volumes have different sizes, so that one decision cannot hold for all.
        """
        results = dict(data)
        decided: tuple[Decision, torch.Size] | None = None
        for key in self.key_iterator(results):
            source = convert_to_tensor(results[key], track_meta=True)
            affine = source.affine.numpy()
            orientation = canonical_orientation(affine)
            canonical = reorient(source.as_tensor(), orientation)
            if decided is None:
                mode = self._mode_for(source)
                rules = {} if mode == "off" else self.rules
                decided = decide_orientation(canonical[0].float().cpu(), rules), canonical.shape[1:]
            decision, shape = decided
            if canonical.shape[1:] != shape:
                raise BreastkitError(
                    f"{source.meta.get('filename_or_obj', key)} has another size than its scan "
                    f"({tuple(canonical.shape[1:])} and {tuple(shape)}); give volumes of one grid."
                )
            flips = [name for name, wrong in decision.wrong.items() if wrong and mode == "correct"]
            axes = [_AXES[name] for name in flips]
            orientation[np.isin(orientation[:, 0], axes), 1] *= -1
            results[key] = self._reoriented(source, orientation, record=self._record(affine, decision, flips, mode))
        return results

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with its volumes in the frame they came in."""
        results = dict(data)
        for key in self.key_iterator(results):
            info = self.pop_transform(results, key)[TraceKeys.EXTRA_INFO]
            orientation = np.array(info["orientation"], dtype=float)
            identity = np.array([(0, 1), (1, 1), (2, 1)], dtype=float)
            back = nibabel.orientations.ornt_transform(identity, orientation)
            with self.trace_transform(False):
                results[key] = self._reoriented(results[key], back)
        return results

    def _reoriented(
        self, source: MetaTensor, orientation: NDArray[Any], *, record: dict[str, Any] | None = None
    ) -> MetaTensor:
        result: MetaTensor = MetaTensor(reorient(source.as_tensor(), orientation)).copy_meta_from(source)
        result.applied_operations = list(source.applied_operations)
        voxels = nibabel.orientations.inv_ornt_aff(orientation, tuple(source.shape[1:]))
        self.push_transform(
            result,
            orig_size=tuple(source.shape[1:]),
            affine=torch.from_numpy(voxels),
            extra_info={"orientation": orientation.astype(int).tolist()},
        )
        if record is not None:
            result.meta["orientation_decision"] = record
        return result

    def _mode_for(self, source: MetaTensor) -> str:
        if self.mode != "auto":
            return self.mode
        return "report" if Path(str(source.meta.get("filename_or_obj", ""))).is_dir() else "correct"

    def _record(self, affine: NDArray[Any], decision: Decision, flips: list[str], mode: str) -> dict[str, Any]:
        record: dict[str, Any] = {
            "mode": mode,
            "preset": self.preset if isinstance(self.preset, str) else "custom",
            "header": "".join(nibabel.aff2axcodes(affine)),
        }
        for axis, (first, second) in decision.values.items():
            record[axis] = {
                "first": first,
                "second": second,
                "wrong": decision.wrong[axis],
                "flipped": axis in flips,
            }
        return record
