"""Parts of a cohort that were run apart, brought together."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from breastkit.atomic import make_folder, replaced_folder, write_json
from breastkit.errors import BreastkitError, SomeFailedError
from breastkit.pipelines.cohort import SETTINGS, refuse_other_settings, refuse_other_things
from breastkit.pipelines.cohort_studies import Study
from breastkit.pipelines.cohort_summary import (
    FAILURES,
    finished_studies,
    forget_study,
    keep_failure,
    read_failures,
    write_summary,
)
from breastkit.progress import track
from breastkit.report.page import plural


def merge_cohorts(folders: Sequence[str], *, out: str) -> Path:
    """Brings the parts of a cohort together in one folder, with its tables and pages.

    Where all lie on one file system files are linked, which takes no space. Parts that were written to one folder need
    no merging; with that folder alone, and as --out too, its tables and pages are made anew.

    Args:
        folders: what 'breastkit run mri' or 'run us' wrote with --cohort or --cases.
        out: the folder to write; may be one of them.

    Returns:
        The page that shows all studies.

    Raises:
        SomeFailedError: when all is written, if studies failed, are missing, or lie in two of the folders.
        BreastkitError: if a folder is no cohort, they were made with different settings, or nothing can be written.
    """
    root = Path(out)
    parts = list(dict.fromkeys(Path(folder).resolve() for folder in folders))
    settings = [_settings(part) for part in parts]
    for part, other in zip(parts, settings, strict=True):
        refuse_other_settings(settings[0], other, part)
    refuse_other_things(root, settings[0])
    write_json(make_folder(root) / SETTINGS, settings[0])
    kind = str(settings[0]["pipeline"])
    _bring_studies(parts, root.resolve(), kind)
    page = write_summary(root, kind)
    _raise_what_is_not_done(root, kind, {int(one["studies"]) for one in settings})
    return page


def _settings(part: Path) -> dict[str, Any]:
    path = part / SETTINGS
    if not path.is_file():
        raise BreastkitError(f"{part} has no {SETTINGS}, so it is no cohort; name what a run with --cohort wrote.")
    settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return settings


def _bring_studies(parts: Sequence[Path], root: Path, kind: str) -> None:
    """Puts every study of the parts into the folder; what one part has done is no failure of another."""
    done: dict[str, list[Path]] = {}
    for part in parts:
        for folder in finished_studies(part, kind):
            done.setdefault(folder.name, []).append(folder)
    failures = [(part, failure) for part in parts for failure in read_failures(part)]
    for name, folders in track(done.items(), "Merging", total=len(done), unit="study"):
        if root not in {folder.parent for folder in folders}:
            forget_study(root, name)
        if len(folders) > 1:
            where = " and ".join(str(folder) for folder in folders)
            problem = (
                f"{where} are two results of one name; leave out one of these parts, or run one under another name."
            )
            keep_failure(root, Study(name, str(folders[1])), problem)
        elif folders[0].parent != root:
            with replaced_folder(root / name) as temporary:
                shutil.copytree(folders[0], temporary, copy_function=_link, dirs_exist_ok=True)
    for part, failure in failures:
        where_done = {folder.parent for folder in done.get(failure.study, [])}
        if not where_done or part in where_done:
            keep_failure(root, Study(failure.study, failure.path), failure.problem)


def _link(source: str, target: str) -> None:
    """Files are only ever replaced, never changed, so that two cohorts may share one."""
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or one without links.
        shutil.copy2(source, target)


def _raise_what_is_not_done(root: Path, kind: str, listed: set[int]) -> None:
    failed = {failure.study for failure in read_failures(root)}
    known = failed | {folder.name for folder in finished_studies(root, kind)}
    # Parts of one list all know how many studies it has.
    missing = max(listed.pop() - len(known), 0) if len(listed) == 1 else 0
    problems = [f"{plural(len(failed), 'study', 'studies')} failed, see {root / FAILURES}"] if failed else []
    if missing:
        which = "the part that has it" if missing == 1 else "the parts that have them"
        problems.append(f"{plural(missing, 'study is', 'studies are')} missing, run {which}")
    if problems:
        raise SomeFailedError(f"Merged, but {'; '.join(problems)}.")
