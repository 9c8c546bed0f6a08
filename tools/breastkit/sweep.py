"""Searches settings of a bundle's training: Optuna chooses, every trial is an ordinary run in a process of its own.

A space is a JSON file: what stays the same, what is chosen from, and what decides::

    {
        "metric": "val_dice",
        "direction": "maximize",
        "fixed": {"image_size": 128, "max_epochs": 15},
        "space": {
            "architecture": ["light", "unet_small"],
            "learning_rate": {"low": 0.0003, "high": 0.01, "log": true},
            "seed": [0, 1, 2]
        }
    }

Names are options of the bundle's ``configs/train.json``, with ``#`` into it; a list is what to choose from, and may
hold whole parts of the config; ``low`` and ``high`` are whole numbers or not, ``log`` and ``step`` say how it goes.

Trials are kept in ``sweep.db`` of the output folder, which Optuna's dashboard reads; their runs beside it, each with
``command.txt``, by which it can be repeated. A trial that lags behind the others in validation is ended early. A sweep
that was stopped goes on with the same command, and so does the run that it was stopped in.
"""

from __future__ import annotations

import csv
import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from breastkit.atomic import make_folder, write_text
from breastkit.bundle import Bundle
from breastkit.cases import read_cases
from breastkit.errors import BreastkitError, UsageError
from breastkit.logs import get_logger
from breastkit.model_registry import check_store
from breastkit.places import shipped
from breastkit.progress import progress_bar
from breastkit.ray_cluster import connected_ray

if TYPE_CHECKING:
    from optuna import Study, Trial

# Tags that a training gives its run in MLflow, as JSON.
RUN_TAGS = "BREASTKIT_RUN_TAGS"
_LOOKED_AT_EVERY = 1.0
_ENDS_WITHIN = 60.0
_FOLDER = "folder"
_log = get_logger(__name__)


@dataclass(frozen=True)
class Space:
    """What a sweep chooses from.

    Attributes:
        metric: the column of a run's metrics.csv that decides.
        direction: ``maximize`` or ``minimize``.
        fixed: options that stay the same.
        choices: options to choose, and from what.
    """

    metric: str
    direction: Literal["maximize", "minimize"]
    fixed: Mapping[str, Any]
    choices: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Space:
        """Reads a space.

        Raises:
            BreastkitError: if there is none, or it is of another form.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            space = cls(
                content.get("metric", "val_dice"),
                content.get("direction", "maximize"),
                dict(content.get("fixed", {})),
                dict(content["space"]),
            )
        except FileNotFoundError as error:
            raise BreastkitError(f"{path} does not exist; mlflow/space_example.json shows what a space is.") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BreastkitError(
                f"{path} is no space ({error!r}); mlflow/space_example.json shows what one is."
            ) from error
        for name, choice in space.choices.items():
            is_range = isinstance(choice, dict) and {"low", "high"} <= set(choice)
            if not is_range and not (isinstance(choice, list) and choice):
                raise BreastkitError(f"{path} does not say what '{name}' is chosen from; give a list, or low and high.")
        if space.direction not in ("maximize", "minimize") or not space.choices:
            raise BreastkitError(f"{path} is no space; it needs a space, and maximize or minimize as its direction.")
        return space

    def options(self, trial: Trial) -> dict[str, Any]:
        """Returns the options of a trial: the fixed ones and those that Optuna suggests."""
        return {**self.fixed, **{name: _suggested(trial, name, choice) for name, choice in self.choices.items()}}

    @property
    def sign(self) -> int:
        """By which values become better the larger."""
        return 1 if self.direction == "maximize" else -1


def sweep(
    bundle: str,
    *,
    space: str,
    trials: int = 10,
    dataset_dir: str,
    out: str | None = None,
    tracking: str | None = None,
    tracking_uri: str = "sqlite:///runs/mlruns.db",
    engine: Literal["optuna", "ray"] = "optuna",
    seed: int = 0,
) -> Path:
    """Searches settings of a bundle's training; every trial is a run of its own, tracked in MLflow as a child of one.

    Args:
        bundle: its name.
        space: a JSON file that says what to choose from; mlflow/space_example.json is one.
        trials: how many in all, those of earlier calls with the same output folder included.
        dataset_dir: the prepared data.
        out: where trials are kept; runs/sweeps and the names of bundle and space by default.
        tracking: the settings file of the tracking; mlflow/tracking.json by default.
        tracking_uri: where MLflow keeps the runs; MLFLOW_TRACKING_URI goes before it.
        engine: one trial after the other, or Ray Tune's runner with as many at once as the machines allow.
        seed: of the choices.

    Returns:
        The table of all trials.

    Raises:
        BreastkitError: if the space or the data cannot be used, or no trial ends well.
    """
    import optuna

    if trials < 1:
        raise UsageError("--trials takes 1 or more.")
    chosen, of, uri = Space.read(Path(space)), Bundle(bundle), os.environ.get("MLFLOW_TRACKING_URI") or tracking_uri
    read_cases(dataset_dir)
    check_store(uri)
    settings = Path(tracking) if tracking is not None else shipped("mlflow") / "tracking.json"
    folder = make_folder(out or Path("runs", "sweeps", f"{of.name}-{Path(space).stem}")).absolute()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _alone_in(folder), _parent_run(uri, of.name, folder.name) as parent:
        study = _study(folder, chosen, seed)
        _go_on_with_stopped(study)
        runs = TrialRuns(of, folder, chosen, Path(dataset_dir), settings, uri, parent)
        if engine == "ray":
            _on_ray(study, runs, trials, seed)
        else:
            _one_by_one(study, runs, trials)
        best = study.best_trial
    table = write_text(folder / "trials.csv", study.trials_dataframe(multi_index=False).to_csv(index=False))
    _log.info("Best of %d: %s %.4f in %s.", len(_ended(study)), chosen.metric, best.value, best.user_attrs[_FOLDER])
    return table


@dataclass(frozen=True)
class TrialRuns:
    """Runs trials of a sweep.

    Attributes:
        bundle: which one is trained.
        folder: of the sweep.
        space: what is chosen from.
        dataset_dir: the prepared data.
        tracking: the settings file of the tracking.
        uri: of the store.
        parent: the id of the run that they are children of.
    """

    bundle: Bundle
    folder: Path
    space: Space
    dataset_dir: Path
    tracking: Path
    uri: str
    parent: str

    def __call__(self, trial: Trial) -> float:
        """Runs a trial, or goes on with its run, and returns what it reached.

        Raises:
            TrialPruned: if it lagged behind and was ended.
            BreastkitError: if it failed.
        """
        place = self.folder / trial.user_attrs.get(_FOLDER, f"trial_{trial.number:04d}")
        command = self.command(place, self.space.options(trial))
        trial.set_user_attr(_FOLDER, place.name)
        trial.set_user_attr("command", shlex.join(command))
        write_text(make_folder(place) / "command.txt", shlex.join(command) + "\n")
        if not self._is_finished(place):
            self._run(trial, command, place)
        reached = self._validated(place)
        if not reached:
            raise BreastkitError(f"{place / 'metrics.csv'} has no '{self.space.metric}'; name another metric.")
        return self.space.sign * max(self.space.sign * value for value in reached.values())

    def _run(self, trial: Trial, command: list[str], place: Path) -> None:
        tags = {"mlflow.parentRunId": self.parent, "breastkit.command": shlex.join(command)}
        with (place / "log.txt").open("ab") as log:
            environment = {**os.environ, RUN_TAGS: json.dumps(tags)}
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            self._watch(trial, process, place)
        finally:
            _end(process)
        if process.returncode != 0:
            raise BreastkitError(f"{place.name} failed: {_last_line(place / 'log.txt')}")

    def _is_finished(self, place: Path) -> bool:
        """Whether a run ended well although the sweep did not live to see it."""
        state = place / "run.json"
        return state.is_file() and json.loads(state.read_text(encoding="utf-8")).get("state") == "finished"

    def command(self, place: Path, options: Mapping[str, Any]) -> list[str]:
        """Returns the command line of a trial."""
        words = {
            "config_file": str(self.bundle.folder / "configs" / "train.json"),
            "bundle_root": str(self.bundle.folder),
            "dataset_dir": str(self.dataset_dir),
            "output_dir": str(place),
            "tracking": str(self.tracking),
            "tracking_uri": self.uri,
            "run_name": f"{self.folder.name}/{place.name}",
            **{name: value if isinstance(value, str) else repr(value) for name, value in options.items()},
        }
        pairs = [word for name, value in words.items() for word in (f"--{name}", value)]
        return [sys.executable, "-m", "monai.bundle", "run", *pairs]

    def _watch(self, trial: Trial, process: subprocess.Popen[bytes], place: Path) -> None:
        from optuna import TrialPruned

        told: set[int] = set()
        while process.poll() is None:
            time.sleep(_LOOKED_AT_EVERY)
            for epoch, value in self._validated(place).items():
                if epoch not in told:
                    told.add(epoch)
                    trial.report(value, epoch)
            if told and trial.should_prune():
                raise TrialPruned(f"{place.name} lags behind after epoch {max(told)}.")

    def _validated(self, place: Path) -> dict[int, float]:
        """Returns what a run has reached so far, by epoch."""
        table = place / "metrics.csv"
        if not table.is_file():
            return {}
        with table.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get(self.space.metric)]
        return {int(row["epoch"]): float(row[self.space.metric]) for row in rows}


def _suggested(trial: Trial, name: str, choice: Any) -> Any:
    if isinstance(choice, list):
        # Optuna keeps plain values alone; parts of a config are kept as text.
        return json.loads(trial.suggest_categorical(name, [json.dumps(each) for each in choice]))
    low, high, log, step = choice["low"], choice["high"], bool(choice.get("log")), choice.get("step")
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, log=log, step=step or 1)
    return trial.suggest_float(name, low, high, log=log, step=step)


def _study(folder: Path, space: Space, seed: int) -> Study:
    import optuna

    storage = f"sqlite:///{folder / 'sweep.db'}"
    check_store(storage)
    known = {study.study_name: study for study in optuna.get_all_study_summaries(storage)}
    if folder.name in known and known[folder.name].direction.name.lower() != space.direction:
        raise BreastkitError(f"{folder} holds a sweep in another direction; give another --out.")
    return optuna.create_study(
        storage=storage,
        study_name=folder.name,
        direction=space.direction,
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1),
        load_if_exists=True,
    )


def _ended(study: Study) -> list[Any]:
    from optuna.trial import TrialState

    return list(study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED)))


def _go_on_with_stopped(study: Study) -> None:
    """Has trials that were stopped in the middle of their run asked again, in their folders, where their runs go on."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        if _FOLDER in trial.user_attrs:
            study.enqueue_trial(trial.params, user_attrs={_FOLDER: trial.user_attrs[_FOLDER]})


def _one_by_one(study: Study, run: Callable[[Trial], float], trials: int) -> None:
    with _followed(study, trials):
        while len(_ended(study)) < trials:
            study.optimize(_noting_failure(run), n_trials=1)


def _noting_failure(run: Callable[[Trial], float]) -> Callable[[Trial], float]:
    def noted(trial: Trial) -> float:
        try:
            return run(trial)
        except BreastkitError as error:
            # A mistake in the space fails every trial: the first that does ends the sweep with its sentence.
            trial.set_user_attr("failed", str(error))
            raise

    return noted


def _on_ray(study: Study, run: TrialRuns, trials: int, seed: int) -> None:
    """Has Ray Tune run trials side by side, which all ask the one study; the first that fails ends the sweep."""
    left = trials - len(_ended(study))
    if left <= 0:
        return
    with connected_ray(None), _followed(study, trials):
        from ray import tune  # type: ignore[import-not-found,unused-ignore]

        def one_trial(config: Mapping[str, Any]) -> None:
            ended: list[Any] = []
            # In a process of its own: by one seed all would begin with the same choices.
            asked = _study(run.folder, run.space, seed + config["number"])
            asked.optimize(_noting_failure(run), n_trials=1, callbacks=[lambda _study, trial: ended.append(trial)])
            # A trial that was ended early may have no value.
            tune.report({run.space.metric: ended[0].value or 0.0})

        results = tune.Tuner(
            one_trial,
            param_space={"number": tune.grid_search(list(range(trials - left, trials)))},
            run_config=tune.RunConfig(
                storage_path=str(run.folder / "ray"),
                failure_config=tune.FailureConfig(fail_fast=True),
                verbose=0,
            ),
        ).fit()
    if results.errors:
        failed = [trial.user_attrs["failed"] for trial in study.get_trials() if "failed" in trial.user_attrs]
        raise BreastkitError(failed[-1] if failed else f"A trial failed: {results.errors[0]}")


@contextmanager
def _followed(study: Study, trials: int) -> Iterator[None]:
    """Shows how many trials have ended while others run them."""
    over = threading.Event()
    with progress_bar("Trials", total=trials, unit="trial") as bar:

        def follow() -> None:
            while not over.wait(_LOOKED_AT_EVERY):
                bar.update(len(_ended(study)) - bar.n)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            bar.update(len(_ended(study)) - bar.n)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keeps a second sweep out of a folder, and lets whoever ends this one end its trial too."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BreastkitError(f"A sweep runs in {folder} already; wait for it, or give another --out.") from error
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _parent_run(uri: str, experiment: str, name: str) -> Iterator[str]:
    """Opens the run that trials are children of, or goes on with it, and says how it ended."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    known = client.get_experiment_by_name(experiment)
    place = known.experiment_id if known else client.create_experiment(experiment)
    found = client.search_runs([place], f"attributes.run_name = '{name}'", max_results=1)
    run_id = found[0].info.run_id if found else client.create_run(place, run_name=name).info.run_id
    client.update_run(run_id, status="RUNNING")
    status = "FAILED"
    try:
        yield run_id
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        client.set_terminated(run_id, status)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks a process to end, which tells MLflow so, and ends it where it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _last_line(path: Path) -> str:
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing."
