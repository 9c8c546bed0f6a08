"""A pipeline over many studies: side by side, a broken one reported and passed over, a stopped run gone on with.

Every study has a folder of its own, which appears only when it is whole, so what is done is what lies there, and runs
on several machines can share one cohort. Results do not depend on how many studies run at a time: each process computes
with one thread.
"""

from __future__ import annotations

import io
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, redirect_stderr
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import psutil
from tqdm import tqdm

from breastkit.atomic import make_folder, remove_unfinished, replaced_folder, unfinished, write_json
from breastkit.errors import BreastkitError, PartlyDoneError, SomeFailedError, UsageError, sentence_of
from breastkit.inference.results import say_left_aside
from breastkit.pipelines.cohort_ray import ray_results
from breastkit.pipelines.cohort_studies import Study, shard_of, studies_in, studies_of_table
from breastkit.pipelines.cohort_summary import (
    FAILURES,
    failed_studies,
    finished_studies,
    forget_failures,
    forget_study,
    is_finished,
    keep_failure,
    write_summary,
    write_thumbnail,
)
from breastkit.pipelines.exchange import lacks_push_alone, push_again, study_at_hand
from breastkit.progress import available_cores, parallel_results, progress_bar
from breastkit.weights import read_model_json

Engine = Literal["processes", "ray"]
SETTINGS = "cohort.json"
# The summary is made of these outputs of every study.
_NEEDED = ("csv", "json", "png")
_NAMED = 5


@dataclass(frozen=True)
class StudyPipeline(ABC):
    """What a cohort runs on each of its studies; processes are sent it, and open its networks once.

    Attributes:
        options: of the command for one study, by name.
        kind: what the command is called.
        memory_gb: what one process needs at most for usual studies.
        paths: names of the options that are files; they are made absolute, to hold in every process.
    """

    options: tuple[tuple[str, Any], ...]
    kind: ClassVar[str]
    memory_gb: ClassVar[float]
    paths: ClassVar[tuple[str, ...]]

    @classmethod
    def of(cls, *, formats: str | None, **options: Any) -> Self:
        """Makes one; what the summary stands on is written whatever formats are asked for."""
        if formats is not None:
            formats = ",".join(dict.fromkeys([*(name.strip() for name in formats.split(",")), *_NEEDED]))
        files = {name: str(Path(options[name]).absolute()) for name in cls.paths if options[name] is not None}
        return cls(tuple(sorted({**options, **files, "formats": formats}.items())))

    @abstractmethod
    def weights(self) -> Mapping[str, Path]:
        """Returns the weights it will run with, by role.

        Raises:
            BreastkitError: if there are none.
        """

    @abstractmethod
    def open(self) -> Any:
        """Opens the networks."""

    @abstractmethod
    def holds_study(self, folder: Path) -> bool:
        """Tells whether a folder holds any file that such a study consists of."""

    @abstractmethod
    def run(self, study: str, out: Path, networks: Any) -> None:
        """Runs on one study.

        Raises:
            PartlyDoneError: if parts of the study could not be used.
            BreastkitError: if it could not be used.
        """


def run_cohort(
    pipeline: StudyPipeline,
    folder: str | None,
    *,
    out: str,
    cases: str | None = None,
    pull: str | None = None,
    workers: int | None = None,
    shard: str | None = None,
    engine: Engine = "processes",
    address: str | None = None,
) -> Path:
    """Runs a pipeline on many studies; what an earlier run did is kept, what failed in it is tried again.

    Args:
        pipeline: what to run.
        folder: every sub-folder is a study.
        out: the folder to write, one folder a study in it.
        cases: a table that names the studies instead; see `studies_of_table`.
        pull: address of the archive that has the studies of the table that are named by their identifiers.
        workers: so many studies at a time; as many as cores and memory allow by default.
        shard: this part of the studies alone, ``i/n``.
        engine: processes of this machine, or a Ray cluster.
        address: of the cluster; see `breastkit.pipelines.cohort_ray.ray_results`.

    Returns:
        The page that shows all studies.

    Raises:
        SomeFailedError: after all others are done, if some failed.
        BreastkitError: if there is no study, weights are missing, or the folder cannot be written.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"--workers takes a whole number from 1 up, not {workers}.")
    if address is not None and engine != "ray":
        raise UsageError("--address is that of a Ray cluster; add --engine ray, or leave it out.")
    studies, aside = _studies_of(pipeline, folder, out, cases, pull)
    chosen = shard_of(studies, shard)
    say_left_aside(aside)
    root = _prepared(Path(out), pipeline, studies=len(studies))
    again = failed_studies(root)
    done = {path.name for path in finished_studies(root, pipeline.kind)} - again
    todo = [study for study in chosen if study.name not in done]
    for name in again & {study.name for study in todo}:
        # Where the archive alone is to blame nothing is computed again.
        if not lacks_push_alone(root / name):
            forget_study(root, name)
    if len(todo) < len(chosen):
        tqdm.write(f"Done already: {len(chosen) - len(todo)} of {len(chosen)} studies.", file=sys.stderr)
    failed: list[tuple[str, str]] = []
    try:
        with closing(_results(pipeline, root, todo, workers=workers, engine=engine, address=address)) as results:
            for study, sentence in results:
                if sentence:
                    failed.append((study.name, sentence))
    finally:
        page = write_summary(root, pipeline.kind)
    _raise_failures(failed, total=len(chosen), out=root)
    return page


def refuse_options_of_cohorts(study: str | None, *, engine: Engine, **options: Any) -> str:
    """Returns the study of a command that was not given a cohort.

    Args:
        study: as it was given.
        engine: likewise.
        options: that belong to cohorts, None where they were not given.

    Raises:
        UsageError: if there is none, or one of the options was given.
    """
    options |= {} if engine == "processes" else {"engine": engine}
    given = next((name for name, value in options.items() if value is not None), None)
    if given is not None:
        raise UsageError(f"--{given} belongs to a cohort; add --cohort or --cases, or leave it out.")
    if study is None:
        raise UsageError("Name what to run on, or a table of studies with --cases.")
    return study


def refuse_for_cohorts(**options: Any) -> None:
    """Refuses options that belong to one study.

    Raises:
        UsageError: if one was given.
    """
    given = next((name for name, value in options.items() if value is not None), None)
    if given is not None:
        raise UsageError(f"--{given} belongs to one study and cannot be used for a cohort; leave it out.")


def _studies_of(
    pipeline: StudyPipeline, folder: str | None, out: str, cases: str | None, pull: str | None
) -> tuple[list[Study], list[tuple[Path, str]]]:
    if (folder is None) == (cases is None):
        raise UsageError("A cohort is a folder with --cohort or a table with --cases; give one of the two.")
    if folder is None:
        return studies_of_table(str(cases), archive=pull), []
    if pull is not None:
        raise UsageError("--pull fetches the studies of a table with --cases, or one with --study; name them so.")
    if Path(folder).resolve() in (Path(out).resolve(), *Path(out).resolve().parents):
        raise BreastkitError(
            f"{out} lies in {folder} and would be taken as a study; name a folder elsewhere with --out."
        )
    return studies_in(folder, holds_study=pipeline.holds_study)


def _prepared(out: Path, pipeline: StudyPipeline, *, studies: int) -> Path:
    """Makes the folder with what this cohort is made with, or makes sure that it was made with the same.

    Raises:
        BreastkitError: if it was made with something else, holds other things or cannot be written.
    """
    settings: dict[str, Any] = {
        "pipeline": pipeline.kind,
        "version": version("breastkit"),
        "options": dict(pipeline.options),
        "weights": {role: read_model_json(path)["sha256"] for role, path in pipeline.weights().items()},
    }
    refuse_other_things(out, settings)
    write_json(make_folder(out) / SETTINGS, {**settings, "studies": studies})
    return out


def refuse_other_things(out: Path, settings: Mapping[str, Any]) -> None:
    """Makes sure that a folder is new, or a cohort made with the same settings.

    Raises:
        BreastkitError: if it is neither.
    """
    path = out / SETTINGS
    if path.is_file():
        refuse_other_settings(settings, json.loads(path.read_text(encoding="utf-8")), out)
    elif out.is_dir() and any(out.iterdir()):
        raise BreastkitError(f"{out} holds other things than a cohort; name a new folder with --out.")


def refuse_other_settings(settings: Mapping[str, Any], earlier: Mapping[str, Any], out: Path) -> None:
    """Keeps results of different settings out of one table.

    Args:
        settings: of now.
        earlier: of what lies in the folder.
        out: the folder.

    Raises:
        BreastkitError: if they differ.
    """
    for name in ("pipeline", "version", "options", "weights"):
        if settings[name] != earlier.get(name):
            raise BreastkitError(
                f"{out} holds a cohort made with other {name} ({_differing(earlier.get(name), settings[name])}); "
                "name another folder with --out, or run as before."
            )


def _differing(before: Any, now: Any) -> str:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        return ", ".join(f"{name} {_short(before.get(name))}, now {_short(now.get(name))}" for name in names)
    return f"{before}, now {now}"


def _short(value: Any) -> str:
    return "unset" if value is None else str(value)[:40]


def _results(
    pipeline: StudyPipeline,
    out: Path,
    studies: Sequence[Study],
    *,
    workers: int | None,
    engine: Engine,
    address: str | None,
) -> Generator[tuple[Study, str]]:
    """Yields studies with their sentences as they are done, with a bar; failures are kept and told at once."""
    with progress_bar("Studies", total=len(studies), unit="study") as bar:
        wrong = [study for study in studies if study.problem]
        sound = [study for study in studies if not study.problem]
        # Machines of a cluster work in folders of their own.
        run, killed = partial(run_study, pipeline, out.absolute()), partial(_killed, out)
        if engine == "ray":
            ran = ray_results(run, sound, address=address, workers=workers, memory_gb=pipeline.memory_gb, killed=killed)
        else:
            at_a_time = min(workers or studies_at_a_time(pipeline.memory_gb), max(len(sound), 1))
            ran = parallel_results(run, sound, workers=at_a_time, killed=killed)
        with closing(ran):
            for study, sentence in chain(((study, study.problem) for study in wrong), ran):
                if sentence:
                    keep_failure(out, study, sentence)
                    tqdm.write(f"Failed: {study.name}: {sentence}", file=sys.stderr)
                else:
                    forget_failures(out, study.name)
                bar.update()
                yield study, sentence


def studies_at_a_time(memory_gb: float) -> int:
    """Returns how many processes cores and free memory allow.

    Args:
        memory_gb: that each needs.
    """
    return max(min(available_cores(), int(psutil.virtual_memory().available / 1e9 / memory_gb)), 1)


def run_study(pipeline: StudyPipeline, out: Path, study: Study) -> str:
    """Runs on one study, in a process of its own, and writes its folder or nothing.

    What is wrong with the networks ends the process's work; what is wrong with the study is its result.

    Args:
        pipeline: what to run.
        out: the folder of the cohort.
        study: which one.

    Returns:
        A sentence if it could not be used, wholly or in part; empty if all is well.

    Raises:
        BreastkitError: if the networks cannot be opened.
    """
    if is_finished(out / study.name, pipeline.kind):
        # By a run whose archive did not take it, or a process that was killed before it could say so.
        return _pushed_again(study, out / study.name, dict(pipeline.options).get("push"))
    networks = _opened(pipeline)
    part = ""
    try:
        with replaced_folder(out / study.name) as folder:
            # What is said of one study, the bar of its pictures among it, would be lost among many.
            with redirect_stderr(io.StringIO()):
                try:
                    with study_at_hand(study.place) as place:
                        pipeline.run(place, folder, networks)
                except PartlyDoneError as error:
                    part = str(error).replace(str(folder), str(out / study.name))
            write_thumbnail(pipeline.kind, folder)
    except Exception as error:  # whatever is wrong with one study, the others go on
        return _sentence(error, study, writing=unfinished(out / study.name))
    return part


def _pushed_again(study: Study, folder: Path, archive: str | None) -> str:
    """Sends what lies there to the archive if that lacks it; returns a sentence where it still does."""
    try:
        if archive is not None and lacks_push_alone(folder):
            push_again(folder, archive)
    except Exception as error:  # as `run_study`
        return _sentence(error, study, writing=unfinished(folder))
    return ""


@lru_cache(maxsize=1)
def _opened(pipeline: StudyPipeline) -> Any:
    """Returns the networks, opened once in a process."""
    return pipeline.open()


def _sentence(error: Exception, study: Study, *, writing: Path) -> str:
    """Returns what is said of a study that failed; where it was being written is nothing a reader knows."""
    sentence = sentence_of(error)
    if sentence is not None:
        return sentence.replace(str(writing), str(writing.with_name(study.name)))
    if isinstance(error, MemoryError):
        return _too_little_memory(study)
    if isinstance(error, OSError) and error.filename and not Path(error.filename).is_relative_to(writing):
        return f"{error.filename} could not be read: {str(error.strerror).lower()}; check the file and its permissions."
    return f"{study.place} made the program fail ({type(error).__name__}: {error}); please report it."


def _killed(out: Path, study: Study) -> str:
    """Returns what is said of a study whose process was killed, and removes what it was writing."""
    remove_unfinished(out / study.name)
    return _too_little_memory(study)


def _too_little_memory(study: Study) -> str:
    return (
        f"{study.place} needed more memory than there is, or its process was killed; "
        "run it with fewer --workers or on a larger machine."
    )


def _raise_failures(failed: Sequence[tuple[str, str]], *, total: int, out: Path) -> None:
    if not failed:
        return
    named = "; ".join(f"{name}: {sentence.rstrip('.')}" for name, sentence in failed[:_NAMED])
    more = f"; and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    others = "" if len(failed) == total else ", the others are done"
    raise SomeFailedError(f"{len(failed)} of {total} studies failed{others}, see {out / FAILURES}: {named}{more}.")
