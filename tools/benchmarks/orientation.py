"""How often the orientation rules undo what lying headers did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.measured import Measured
from breastkit.phantoms.mri import make_mri_phantom
from breastkit.progress import parallel_map
from breastkit.transforms.orient_breast import canonical_orientation, decide_orientation, read_preset, reorient

# What a header is made to lie about.
LIES = ((), ("rows",), ("slices",), ("rows", "slices"))
# The rules average a scan to fewer blocks than this has voxels.
SHAPE = (128, 128, 48)
_AXES = {"rows": 2, "slices": 3}


def orientation_recovery(
    *, cases: int = 40, seed: int = 0, presets: Sequence[str] = ("default", "original"), workers: int | None = None
) -> dict[str, dict[str, float]]:
    """Tells how often presets recognise flipped rows and slices in phantoms.

    Every phantom is brought to the canonical frame by its true header and judged four times: as it is, with its rows,
    its slices, and both flipped. The first post-contrast phase is judged.

    Args:
        cases: how many phantoms to make.
        seed: of the phantoms.
        presets: names of the rules.
        workers: number of processes.

    Returns:
        By preset, the share judged right for each lie, and over all.
    """
    jobs = [(seed, case, tuple(presets)) for case in range(1, cases + 1)]
    right = np.array(parallel_map(_judged_right, jobs, "Judging phantoms", workers=workers, unit="phantom"))
    names = [*(" and ".join(lie) or "none" for lie in LIES), "overall"]
    shares = right.mean(axis=0)
    shares = np.concatenate([shares, shares.mean(axis=1, keepdims=True)], axis=1)
    return {preset: dict(zip(names, row.tolist(), strict=True)) for preset, row in zip(presets, shares, strict=True)}


def _judged_right(job: tuple[int, int, Sequence[str]]) -> list[list[bool]]:
    seed, case, presets = job
    phantom = make_mri_phantom(seed, case, shape=SHAPE, phases=2)
    scan = torch.from_numpy(phantom.phases[1].astype(np.float32))[None]
    scan = reorient(scan, canonical_orientation(phantom.affine))
    seen = [scan.flip([_AXES[axis] for axis in lie])[0] if lie else scan[0] for lie in LIES]
    return [
        [
            decide_orientation(volume, read_preset(preset)).wrong == {axis: axis in lie for axis in _AXES}
            for volume, lie in zip(seen, LIES, strict=True)
        ]
        for preset in presets
    ]


def main() -> Measured:
    """Runs the benchmark."""
    cases = 40
    presets = orientation_recovery(cases=cases)
    lines = [
        f"{preset}: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
        for preset, shares in presets.items()
    ]
    title = f"orientation: {cases} phantoms, flips of rows, slices, both and none judged right"
    return Measured({"cases": cases, "presets": presets}, (title, *lines))
