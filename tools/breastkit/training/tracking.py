"""A run in MLflow: what it was told, how it went, what it made, and how it ended."""

from __future__ import annotations

import atexit
import csv
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from ignite.engine import Engine, Events
from monai.engines import Trainer
from monai.handlers import MLFlowHandler
from monai.utils import flatten_dict

from breastkit.bundle import Bundle
from breastkit.cases import CaseList, Item
from breastkit.logs import get_logger
from breastkit.model_record import dataset_of, judged_model, log_datasets, log_figures, made_model
from breastkit.model_registry import check_store
from breastkit.saved_view import save_view
from breastkit.training.outbox import Outbox
from breastkit.training.run_folder import RunFolder, git_revision
from breastkit.training.sample_pictures import sample_pictures
from breastkit.weights import FILE_NAME, read_model_json

# By which a run whose process is gone is told from one that still goes on.
_HOST, _PROCESS = "breastkit.host", "breastkit.process"
_ASKED_TO_END = 128 + signal.SIGTERM
# So often over a training are pictures kept of what the network answers.
_SAMPLES = 5
_log = get_logger(__name__)


class MlflowRun(MLFlowHandler):
    """Handler that logs losses, metrics, settings, data sets, git revision and products of a run, and how it ended.

    Every run has a name; a run of that name that did not finish is gone on with. With a `run_folder` it ends when that
    is finished, after the threshold search; else when the engine is. Whatever breaks it off marks it as FAILED, being
    asked to end as KILLED. A process that was killed outright can say nothing any more: the next run of the experiment
    on the same machine says it in its place. Under ``mlflow run`` it logs into the run MLflow has opened.

    A server that is away while the run goes on gets what it missed when it is back.

    What a training made becomes a model of its own, which evaluations add their figures to; see `model_record`.

    Args:
        folder: the output folder; its pictures, tables, weights and configs become artifacts.
        bundle: the bundle's folder.
        cases: the case list.
        lists: its items in use, by what for; the figures at the end are of the last.
        tracking_uri: a SQLite file (``sqlite:///…``) or the address of a server.
        experiment_name: under which experiment; a folder, such as the bundle's, stands for its name.
        run_name: under which name; made from the folder and the time if None.
        params: settings that stay the same through the run.
        tags: other facts, which may change when a run goes on.
        evaluator: the engine that validates; its metrics are logged with the trainer's.
        run_folder: the life of the run, where it goes on after the engine.
        weights: those that are judged; those in `folder` are what was made where there are none.
        summary: a table made at the end; the means of its columns are logged.
        artifacts: patterns of the files in `folder` to keep.
    """

    # MONAI declares None alone.
    cur_run: Any

    def __init__(
        self,
        folder: str | Path,
        *,
        bundle: str | Path,
        cases: CaseList,
        lists: Mapping[str, Sequence[Item]],
        tracking_uri: str,
        experiment_name: str,
        run_name: str | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        evaluator: Engine | None = None,
        run_folder: RunFolder | None = None,
        weights: str | Path | None = None,
        summary: str | Path | None = None,
        artifacts: Sequence[str] = ("model.pt", "*.json", "*.csv", "*.png"),
    ):
        self.folder, self.evaluator, self.run_folder = Path(folder), evaluator, run_folder
        self.tags, self.summary, self.patterns = dict(tags or {}), summary, artifacts
        self.bundle, self.weights = Bundle(bundle), weights
        self.datasets = {name: dataset_of(cases, name, items) for name, items in lists.items()}
        # MLflow's own, which declares no types.
        self._monitor: Any = None
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or tracking_uri
        check_store(self.uri)
        # MLflow would hold the training up for minutes where a server is away; the outbox waits for it beside.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        self.outbox = Outbox(self.uri)
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
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._log_samples, engine)
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
        experiment: Any = self.experiment
        end_lost_runs(self.client, experiment.experiment_id)
        super().start(engine)
        run_id = self.cur_run.info.run_id
        self.client.update_run(run_id, status="RUNNING")
        tags = {"mlflow.source.git.commit": git_revision(), "breastkit.version": version("breastkit"), **self.tags}
        # What a sweep says of its trials.
        tags |= json.loads(os.environ.get("BREASTKIT_RUN_TAGS", "{}"))
        for name, value in {**tags, **_this_process()}.items():
            self.client.set_tag(run_id, name, value)
        log_datasets(self.client, run_id, self.datasets)
        self._monitor = _watch_machine(run_id, self.uri)
        # What comes after the engine can fail too; then nothing but the end of the process tells.
        atexit.register(self._end, "FAILED")
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            # Ends like any other error, so that handlers and what runs at the exit have their turn.
            signal.signal(signal.SIGTERM, self._asked_to_end)

    def epoch_completed(self, engine: Engine) -> None:
        """Logs the epoch's metrics, with those of the validation if there was one."""
        super().epoch_completed(engine)
        if isinstance(engine, Trainer) and (seconds := engine.state.times.get(Events.EPOCH_COMPLETED.name)):
            loader: Any = engine.data_loader
            self._log_metrics({"images_per_second": len(loader.dataset) / seconds}, step=engine.state.epoch)
        if self.evaluator is not None and self.evaluator.state.epoch == engine.state.epoch:
            self._log_metrics(self.evaluator.state.metrics, step=engine.state.epoch)

    def complete(self) -> None:
        """Leaves the artifacts to `finish`, because some are made after the engine has completed."""

    def finish(self) -> None:
        """Logs what the run made and marks it as FINISHED."""
        if self.cur_run is None:
            return
        run_id = self.cur_run.info.run_id
        for path in sorted({path for pattern in self.patterns for path in self.folder.glob(pattern)}):
            self.outbox.say(partial(self.client.log_artifact, run_id, str(path)))
        self.outbox.deliver()
        self._log_model(run_id)
        self._end("FINISHED")

    def fail(self, _engine: Engine, error: BaseException) -> None:
        """Marks the run as FAILED, or as KILLED where somebody ended it, and lets the error go on."""
        self._end("KILLED" if isinstance(error, KeyboardInterrupt | SystemExit) else "FAILED")
        raise error

    def _log_model(self, run_id: str) -> None:
        if self.weights is None:
            model = made_model(self.client, run_id, self.folder, self.bundle)
            known = read_model_json(self.folder / FILE_NAME).get("figures", {})
            figures = {f"model/{name}": value for name, value in known.items() if isinstance(value, int | float)}
        else:
            model = judged_model(self.client, run_id, self.weights, self.bundle)
            figures = _column_means(Path(self.summary)) if self.summary else {}
            if figures:
                save_view(self.client, self.cur_run.info.experiment_id, list(figures))
        log_figures(self.client, run_id, figures, model, list(self.datasets.values())[-1])

    def _log_samples(self, evaluator: Engine, trainer: Engine) -> None:
        """Keeps pictures of what the network answers to the first images of the validation, some times in a run."""
        epoch, last = trainer.state.epoch, trainer.state.max_epochs or 1
        if evaluator.state.iteration == 1 and self.cur_run is not None and epoch % max(1, last // _SAMPLES) == 0:
            output: Any = evaluator.state.output
            picture = sample_pictures(output)
            if picture is not None:
                place = f"samples/epoch_{epoch:04d}.png"
                self.outbox.say(partial(self.client.log_image, self.cur_run.info.run_id, picture, place))

    def _asked_to_end(self, *_signal: Any) -> None:
        self._end("KILLED")
        sys.exit(_ASKED_TO_END)

    def _end(self, status: str) -> None:
        if signal.getsignal(signal.SIGTERM) == self._asked_to_end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self._monitor is not None:
            self._monitor.finish()
            self._monitor = None
        atexit.unregister(self._end)
        if self.cur_run is not None and self.outbox.answers():
            self.run_finish_status = status
            self.close()
        elif self.cur_run is not None:
            _log.warning("The run stays RUNNING in MLflow until the next one of its experiment ends it.")
            self.cur_run = None

    def _log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [Metric(name, value, now, step or 0) for name, value in flatten_dict(metrics).items()]
        self.outbox.say(partial(self.client.log_batch, self.cur_run.info.run_id, metrics=entries))

    def _log_params(self, params: dict[str, Any]) -> None:
        # A parameter cannot be logged twice with other values, and a run started over may keep its name.
        params = dict(params)
        self._delete_exist_param_in_dict(params)
        super()._log_params(params)


def end_lost_runs(client: Any, experiment_id: str) -> None:
    """Marks runs as KILLED that this machine's processes began and did not live to end."""
    host = socket.gethostname()
    for run in client.search_runs(experiment_id, f"attributes.status = 'RUNNING' AND tags.`{_HOST}` = '{host}'"):
        if not _is_alive(run.data.tags.get(_PROCESS, "")):
            client.set_terminated(run.info.run_id, "KILLED")


def _watch_machine(run_id: str, uri: str) -> Any:
    """Starts to log the load of the machine, and returns what does so."""
    from mlflow.system_metrics import system_metrics_monitor

    logging.getLogger(system_metrics_monitor.__name__).setLevel(logging.WARNING)
    start: Any = system_metrics_monitor.SystemMetricsMonitor
    monitor = start(run_id, resume_logging=True, tracking_uri=uri)
    monitor.start()
    return monitor


def _this_process() -> dict[str, str]:
    process = psutil.Process()
    return {_HOST: socket.gethostname(), _PROCESS: f"{process.pid} {process.create_time()}"}


def _is_alive(described: str) -> bool:
    # A number is given to another process after a while; when that began tells them apart.
    number, _, began = described.partition(" ")
    try:
        return str(psutil.Process(int(number)).create_time()) == began
    except (ValueError, psutil.Error):
        return False


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
