"""A set of dynamic breast MRI patients as slices: what Duke, MAMA-MIA and QIN share once their patients are found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from breastkit.atomic import write_text
from breastkit.cases import Item, write_cases
from breastkit.datasets.dce_case import DceCase, DceRecipe, PreparedDce, prepare_dce_case
from breastkit.datasets.splits import lists_before
from breastkit.dce.phases import check_channels
from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.progress import parallel_map

SET_NAME = "breast MRI lesions"
Dealt = Mapping[str, Sequence[tuple[DceCase, int | None]]]

_log = get_logger(__name__)


def write_dce_set(
    lists: Dealt,
    recipe: DceRecipe,
    *,
    curation: Mapping[str, str],
    negatives: float,
    split: Mapping[str, Any],
    workers: int | None,
) -> Path:
    """Prepares patients, and writes the case list, what YOLO tools read and curation.csv.

    Args:
        lists: the patients of training, validation and test, with their folds.
        recipe: how they are prepared, and where to.
        curation: why other patients were left out.
        negatives: share of slices without lesion that is kept to train on; of test patients all are.
        split: what the split was made from; another one never takes its place.
        workers: processes to work with; all available cores by default.

    Returns:
        The path of the case list.

    Raises:
        BreastkitError: if no patient can be used.
    """
    shares = [(case, 1.0 if name == "test" else negatives) for name, each in lists.items() for case, _ in each]
    done = parallel_map(
        partial(prepare_dce_case, recipe=recipe), shares, "Preparing patients", workers=workers, unit="patient"
    )
    prepared = {case.name: case for case in done if not case.problem}
    reasons = {**curation, **{case.name: case.problem for case in done}}
    _write_curation(recipe.out, reasons)
    if not prepared:
        raise BreastkitError(f"No patient can be used: {next(iter(filter(None, reasons.values())), 'there is none.')}")
    items = _items(lists, prepared, recipe.out)
    facts = {
        "name": SET_NAME,
        "image_size": recipe.image_size,
        "channels": recipe.channels,
        "split": dict(split),
        "scans": {name: case.scan for name, case in sorted(prepared.items())},
        "problems": [problem for problem in reasons.values() if problem],
    }
    written = write_cases(recipe.out, items, facts=facts)
    _write_yolo(recipe.out, items)
    counts = ", ".join(
        f"{len({item['case'] for item in each})} patients ({len(each)} slices) {name}" for name, each in items.items()
    )
    _log.info("%s: %s; %d patients left out, see curation.csv", SET_NAME, counts, sum(map(bool, reasons.values())))
    return written.path


def check_options(channels: str, image_size: int, negatives: float) -> None:
    """Refuses options that no slices can be prepared with.

    Raises:
        BreastkitError: if an option has a value that cannot be.
    """
    check_channels(channels)
    if isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < 32 or image_size % 32:
        raise BreastkitError(f"An image size of {image_size} does not fit the detector; give a multiple of 32.")
    if not 0 <= negatives <= 1:
        raise BreastkitError(f"A share of {negatives} of the slices without lesion cannot be kept; give 0 to 1.")


def previous_patients(out: Path, settings: Mapping[str, Any]) -> dict[str, list[Item]] | None:
    """Returns where the patients of an earlier preparation stand."""
    slices = lists_before(out, SET_NAME, settings, options="other options")
    if slices is None:
        return None
    lists: dict[str, list[Item]] = {}
    for name, items in slices.items():
        patients = {item["case"]: item.get("fold") for item in items}
        lists[name] = [
            {"image": patient, "case": patient, **({} if fold is None else {"fold": fold})}
            for patient, fold in patients.items()
        ]
    return lists


def _items(lists: Dealt, prepared: Mapping[str, PreparedDce], out: Path) -> dict[str, list[Item]]:
    return {
        name: [
            item | ({"fold": fold} if name == "training" else {})
            for case, fold in patients
            if case.name in prepared
            for item in prepared[case.name].items(out)
        ]
        for name, patients in lists.items()
    }


def _write_curation(out: Path, curation: Mapping[str, str]) -> None:
    import pandas as pd

    rows = [
        {"patient": name, "kept": not reason, "reason": reason or "kept"} for name, reason in sorted(curation.items())
    ]
    write_text(out / "curation.csv", pd.DataFrame(rows).to_csv(index=False))
    counts = Counter("kept" if row["kept"] else "dropped" for row in rows)
    _log.info("curation.csv: %d patients kept, %d dropped", counts["kept"], counts["dropped"])


def _write_yolo(out: Path, items: Mapping[str, Sequence[Item]]) -> None:
    """Writes what YOLO tools read: a list of images for each part, and ``data.yaml``."""
    lines = []
    for name, part in (("training", "train"), ("validation", "val"), ("test", "test")):
        listed = [f"./{Path(item['image']).relative_to(out).as_posix()}\n" for item in items[name]]
        write_text(out / f"{part}.txt", "".join(listed))
        lines.append(f"{part}: {part}.txt\n")
    write_text(out / "data.yaml", "path: .\n" + "".join(lines) + "names:\n  0: lesion\n")
