"""Puts a version in use that is not worse than what is in use, on cases that neither has learnt from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from breastkit.atomic import make_folder, replaced_folder
from breastkit.bundle import Bundle, Role
from breastkit.cases import case_list_path, read_cases
from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.promotion import fetch_version, named, registration_of, use_version
from breastkit.weights import read_model_json

if TYPE_CHECKING:
    from breastkit.metrics import PairedTest

# What decides, by what a bundle is for: figures of every case.
DECIDING: Mapping[Role, Sequence[str]] = {
    Role.SEGMENTATION: ("dice",),
    Role.REGION_SEGMENTATION: ("dice",),
    Role.DETECTION: ("found", "false_candidates"),
    Role.CLASSIFICATION: ("brier",),
}
# An interval of fewer cases is narrower than what one does not know.
_FEW = 6
_EVALUATIONS = "evaluations"
_log = get_logger(__name__)


@dataclass(frozen=True)
class Judgement:
    """What two versions reach on the same cases.

    Attributes:
        measure: the figure.
        current: its mean of the version in use.
        candidate: its mean of the other one.
        difference: candidate less current with its 95 % interval over cases; of figures where less is better, reversed.
        p_value: of a paired permutation test.
        cases: how many they are.
    """

    measure: str
    current: float
    candidate: float
    difference: tuple[float, float, float]
    p_value: float
    cases: int

    @property
    def is_worse(self) -> bool:
        """Whether the candidate is worse, by the whole interval; also where there is none, of fewer than two cases."""
        return not self.difference[2] >= 0

    def __str__(self) -> str:
        value, low, high = self.difference
        return (
            f"{self.measure} {self.candidate:.3f} instead of {self.current:.3f} on {self.cases} cases "
            f"(difference {value:+.3f}, {low:+.3f} to {high:+.3f})"
        )


def promote_version(name: str, version: int, *, dataset_dir: str | None = None, models: str | None = None) -> str:
    """Judges a registered version and what is in use on the same cases, and uses it if it is not worse.

    Both are run by the bundle's own evaluate.json on the test list of the data that the version was trained on, unless
    that was done before. It is worse where the whole 95 % interval of the paired difference is.

    Args:
        name: of the bundle.
        version: the number that breastkit models register or list told.
        dataset_dir: the case list to judge by, where the version does not say it.
        models: where versions are kept; what BREASTKIT_MODELS names, else work/models, by default.

    Returns:
        What came out.

    Raises:
        BreastkitError: if there is no such version, the cases are not to be had, it is worse, or somebody else was
            faster.
    """
    bundle = Bundle(name, models=models)
    current = bundle.version_in_use
    if version == current:
        return f"{name} runs with {named(version)} already."
    if version:
        fetch_version(bundle, version)
    where = _cases_of(bundle, version, dataset_dir)
    case_hash = _test_hash(where)
    folders = [evaluated(bundle, number, where, case_hash) for number in (current, version)]
    found = judge(bundle, *folders)
    worse = [one for one in found if one.is_worse]
    if worse:
        raise BreastkitError(
            f"{name} still runs with {named(current)}: version {version} is worse, {worse[0]}; train longer, or judge "
            "by other cases with --dataset_dir."
        )
    if found[0].cases < _FEW:
        _log.warning("%d cases tell little; judge by more with --dataset_dir.", found[0].cases)
    figures = {
        "judged_on": {"cases": str(where), "test_sha256": case_hash},
        "figures": {"current": _means(found, "current"), "candidate": _means(found, "candidate")},
        "judgements": [asdict(one) for one in found],
    }
    use_version(bundle, version, figures=figures, instead_of=current)
    return f"{name} runs with {named(version)}: {found[0]}. Back: breastkit models rollback {name}."


def judge(bundle: Bundle, current: Path, candidate: Path) -> list[Judgement]:
    """Compares two evaluations of the same cases in what decides for a bundle.

    Raises:
        BreastkitError: if they were made on other cases or by other figures.
    """
    from breastkit.evaluation.comparison import case_table, smaller_is_better
    from breastkit.metrics import paired_test

    before, after = case_table(current), case_table(candidate)
    if set(before.index) != set(after.index):
        raise BreastkitError(
            f"{candidate} and {current} were evaluated on other cases; evaluate both on one list with --dataset_dir."
        )
    before, found = before.loc[after.index], []
    for measure in DECIDING[bundle.purpose.role]:
        less_is_better = smaller_is_better(measure)
        pair = (before[measure], after[measure]) if less_is_better else (after[measure], before[measure])
        test: PairedTest = paired_test(*pair)
        found.append(
            Judgement(
                measure,
                float(before[measure].mean()),
                float(after[measure].mean()),
                (test.difference.value, test.difference.low, test.difference.high),
                test.p_value,
                test.cases,
            )
        )
    return found


def evaluated(bundle: Bundle, number: int, dataset_dir: Path, case_hash: str) -> Path:
    """Returns the folder with a version's evaluation on the test list of a set, which is run where there is none.

    Raises:
        BreastkitError: if it does not run.
    """
    weights = bundle.weights_of_version(number)
    digest = str(read_model_json(weights)["sha256"])
    folder = bundle.promoted / _EVALUATIONS / f"{digest[:16]}-{case_hash[:16]}"
    if not (folder / "evaluation" / "summary.json").is_file():
        _log.info("Judging %s of %s.", named(number), bundle.name)
        make_folder(folder.parent)
        with replaced_folder(folder) as temporary:
            bundle.run(
                "inference.json",
                "evaluate.json",
                dataset_dir=str(dataset_dir),
                ckpt_path=str(weights),
                split="test",
                output_dir=str(temporary),
            )
    return folder


def _cases_of(bundle: Bundle, version: int, dataset_dir: str | None) -> Path:
    known = registration_of(bundle, version).get("data_path")
    place = dataset_dir or known
    if place is None:
        raise BreastkitError(
            f"Version {version} of {bundle.name} does not say which cases to judge it by; give --dataset_dir, a folder "
            "with a case list."
        )
    path = case_list_path(place)
    if not path.is_file():
        raise BreastkitError(f"{path} does not exist; give the cases to judge by with --dataset_dir.")
    return path.parent


def _test_hash(dataset_dir: Path) -> str:
    cases = read_cases(dataset_dir)
    return replace(cases, training=[], validation=[], test=cases.split("test"), inference=[]).hash


def _means(found: Sequence[Judgement], which: str) -> dict[str, Any]:
    return {one.measure: getattr(one, which) for one in found}
