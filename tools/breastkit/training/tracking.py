"""A run in MLflow: what it was told, how it went, what it made, and how it ended."""

from __future__ import annotations

import atexit
import csv
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import Trainer
from monai.handlers import MLFlowHandler

from breastkit.atomic import make_folder
from breastkit.errors import BreastkitError
from breastkit.training.run_folder import RunFolder

_SQLITE = "sqlite:///"


def git_revision() -> str:
    """Returns the commit this package's sources are at, with ``-dirty`` when they were changed since."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


class MlflowRun(MLFlowHandler):
    """Handler that logs losses, metrics, settings, git revision and products of a run, and how it ended.

    Every run has a name; a run of that name that did not finish is gone on with. With a `run_folder` it ends when that
    is finished, after the threshold search; else when the engine is. Whatever breaks it off marks it as FAILED, except
    a killed process, whose run is still open when the same command goes on with it. Under ``mlflow run`` it logs into
    the run MLflow has opened.

    Args:
        folder: the output folder; its pictures, tables, weights and configs become artifacts.
        tracking_uri: a SQLite file (``sqlite:///…``) or the address of a server.
        experiment_name: under which experiment; a folder, such as the bundle's, stands for its name.
        run_name: under which name; made from the folder and the time if None.
        params: settings that stay the same through the run.
        tags: other facts, which may change when a run goes on.
        evaluator: the engine that validates; its metrics are logged with the trainer's.
        run_folder: the life of the run, where it goes on after the engine.
        summary: a table made at the end; the means of its columns are logged.
        artifacts: patterns of the files in `folder` to keep.
    """

    # MONAI declares None alone.
    cur_run: Any

    def __init__(
        self,
        folder: str | Path,
        *,
        tracking_uri: str,
        experiment_name: str,
        run_name: str | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        evaluator: Engine | None = None,
        run_folder: RunFolder | None = None,
        summary: str | Path | None = None,
        artifacts: Sequence[str] = ("model.pt", "*.json", "*.csv", "*.png"),
    ):
        self.folder, self.evaluator, self.run_folder = Path(folder), evaluator, run_folder
        self.tags, self.summary, self.patterns = dict(tags or {}), summary, artifacts
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or tracking_uri
        _check_store(self.uri)
        super().__init__(
            tracking_uri=tracking_uri,
            experiment_name=place.resolve().name if (place := Path(experiment_name)).is_dir() else experiment_name,
            run_name=str(run_name) if run_name else f"{self.folder.name}-{time.strftime('%Y%m%d-%H%M%S')}",
            experiment_param=dict(params or {}),
            # Every tenth step draws the same curve and costs a tenth.
            iteration_log=lambda _engine, iteration: iteration % 10 == 1,
            output_transform=lambda output: output["loss"],
            tag_name="train_loss_step",
        )

    def attach(self, engine: Engine) -> None:
        """Attaches to a trainer, or to an evaluator that runs alone."""
        self.iteration_log = self.iteration_log if isinstance(engine, Trainer) else False
        super().attach(engine)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self.fail)
        if self.run_folder is None:
            engine.add_event_handler(Events.COMPLETED, self.finish)
        else:
            self.run_folder.when_finished(self.finish)

    def start(self, engine: Engine) -> None:
        """Opens the run, or goes on with the one of that name that did not finish."""
        self._set_experiment()
        if "MLFLOW_RUN_ID" in os.environ:
            self.cur_run = self.client.get_run(os.environ["MLFLOW_RUN_ID"])
            self.client.update_run(self.cur_run.info.run_id, name=self.run_name)
        super().start(engine)
        run_id = self.cur_run.info.run_id
        self.client.update_run(run_id, status="RUNNING")
        tags = {"mlflow.source.git.commit": git_revision(), "breastkit.version": version("breastkit"), **self.tags}
        for name, value in tags.items():
            self.client.set_tag(run_id, name, value)
        # What comes after the engine can fail too; then nothing but the end of the process tells.
        atexit.register(self._end, "FAILED")

    def epoch_completed(self, engine: Engine) -> None:
        """Logs the epoch's metrics, with those of the validation if there was one."""
        super().epoch_completed(engine)
        if self.evaluator is not None and self.evaluator.state.epoch == engine.state.epoch:
            self._log_metrics(self.evaluator.state.metrics, step=engine.state.epoch)

    def complete(self) -> None:
        """Leaves the artifacts to `finish`, because some are made after the engine has completed."""

    def finish(self) -> None:
        """Logs what the run made and marks it as FINISHED."""
        if self.cur_run is None:
            return
        if self.summary:
            self._log_metrics(_column_means(Path(self.summary)))
        for path in sorted({path for pattern in self.patterns for path in self.folder.glob(pattern)}):
            self.client.log_artifact(self.cur_run.info.run_id, str(path))
        self._end("FINISHED")

    def fail(self, _engine: Engine, error: BaseException) -> None:
        """Marks the run as FAILED and lets the error go on."""
        self._end("FAILED")
        raise error

    def _end(self, status: str) -> None:
        if self.cur_run is not None:
            self.run_finish_status = status
            self.close()
        atexit.unregister(self._end)

    def _log_params(self, params: dict[str, Any]) -> None:
        # A parameter cannot be logged twice with other values, and a run started over may keep its name.
        params = dict(params)
        self._delete_exist_param_in_dict(params)
        super()._log_params(params)


def _check_store(uri: str) -> None:
    """Makes the folder of a SQLite file, and finds out quickly whether a server answers."""
    if uri.startswith(_SQLITE):
        make_folder(Path(uri.removeprefix(_SQLITE)).parent)
    elif uri.startswith("http"):
        try:
            urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=10).close()
        except urllib.error.HTTPError:
            return
        except OSError as error:
            raise BreastkitError(
                f"The MLflow server {uri} does not answer ({error}); start it or give another --tracking_uri."
            ) from error
    elif "://" not in uri or uri.startswith("file:"):
        raise BreastkitError(
            f"MLflow no longer keeps runs in plain folders such as {uri}; give --tracking_uri sqlite:///FILE.db or the "
            "address of a server."
        )


def _column_means(path: Path) -> dict[str, float]:
    """Returns the mean of every column of a table that holds numbers."""
    columns: dict[str, list[float]] = {}
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name, text in row.items():
                try:
                    columns.setdefault(name, []).append(float(text))
                except ValueError:
                    columns.setdefault(name, [])
    return {name: sum(values) / len(values) for name, values in columns.items() if values and name != "case"}
