"""How often the plain candidate rule finds a lesion in phantoms that have one."""

from __future__ import annotations

from typing import Any

from benchmarks.measured import Measured
from breastkit.inference.candidate import find_candidate
from breastkit.phantoms.mri import make_mri_phantom
from breastkit.progress import parallel_map


def candidate_rule_recovery(
    *, cases: int = 40, seed: int = 0, shape: tuple[int, int, int] | None = None, workers: int | None = None
) -> dict[str, Any]:
    """Tells how often the rule's candidate overlaps a lesion.

    The rule looks inside the true breast mask of the first post-contrast phase. Phantoms on which it mostly succeeds
    would be too easy to learn from.

    Args:
        cases: how many phantoms to make.
        seed: of the phantoms.
        shape: columns, rows and slices; their usual size by default.
        workers: number of processes.

    Returns:
        cases, how many have a lesion, in how many the rule hits one, and that share.
    """
    jobs = [(seed, case, shape) for case in range(1, cases + 1)]
    judged = parallel_map(_hits_a_lesion, jobs, "Trying the candidate rule", workers=workers, unit="phantom")
    hits = [hit for hit in judged if hit is not None]
    share = sum(hits) / len(hits) if hits else float("nan")
    return {"cases": cases, "with_lesions": len(hits), "found": sum(hits), "recovery": share}


def _hits_a_lesion(job: tuple[int, int, tuple[int, int, int] | None]) -> bool | None:
    """Returns whether the candidate overlaps a lesion; None where there is none."""
    seed, case, shape = job
    phantom = make_mri_phantom(seed, case, shape=shape)
    if not phantom.lesion_table:
        return None
    return bool((find_candidate(phantom.phases[1], phantom.breast) & (phantom.lesions > 0)).any())


def main() -> Measured:
    """Runs the benchmark."""
    result = candidate_rule_recovery()
    line = (
        f"candidate: hits a lesion in {result['found']} of {result['with_lesions']} phantoms that have one "
        f"({result['recovery']:.0%})"
    )
    return Measured(result, (line,))
