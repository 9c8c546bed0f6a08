"""The registry in MLflow: which weights there are of a bundle, and which are in use, for all who share it.

A registered model is a bundle and an architecture, ``BUNDLE-ARCHITECTURE``. Its versions carry as the tag ``number``
what the files beside the weights call them, see `promotion`: one number for a bundle, whatever the architecture. The
alias ``champion`` stands at what is in use, ``candidate`` at what was registered last.

The store is the one that ``BREASTKIT_REGISTRY`` names (``none`` for none), else ``MLFLOW_TRACKING_URI``, else
``runs/mlruns.db`` of the working folder where that is. MLflow takes seconds to load, and so does that only when asked.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from breastkit.atomic import make_folder, write_json
from breastkit.bundle import Bundle
from breastkit.errors import BreastkitError
from breastkit.weights import FILE_NAME, read_model_json

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CANDIDATE = "champion", "candidate"
NONE = "none"
_DEFAULT_STORE = Path("runs", "mlruns.db")
_SQLITE = "sqlite:///"
_WHERE = "(--tracking_uri of a training, BREASTKIT_REGISTRY of the registry)"
_REFUSED = ("PERMISSION_DENIED", "UNAUTHENTICATED")
_MOST_RUNS = 1000
_RUN_ID = re.compile(r"[0-9a-f]{32}")


class RefusedError(BreastkitError):
    """The registry answers, and does not let this user change it."""


@dataclass(frozen=True)
class TrackedRun:
    """A training in MLflow and the weights it made.

    Attributes:
        name: of the run.
        run_id: MLflow's.
        bundle: the name of the bundle.
        commit: of the code that trained.
        data: the case list it learnt from: ``name``, ``path`` and ``sha256``.
        link: where the run is looked at.
        weights: the place of the weights in the store.
    """

    name: str
    run_id: str
    bundle: str
    commit: str
    data: dict[str, str]
    link: str
    weights: str


@dataclass(frozen=True)
class RegisteredVersion:
    """A version in the registry.

    Attributes:
        model: the registered model.
        version: MLflow's own number of it.
        number: the bundle's number of it.
        sha256: of the weights.
        source: the place of the weights in the store.
        aliases: that stand at it.
        tags: further facts.
    """

    model: str
    version: str
    number: int
    sha256: str
    source: str
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


def registry_in_use() -> ModelRegistry | None:
    """Returns the registry, None where there is none.

    Raises:
        BreastkitError: if it does not answer or is damaged.
    """
    named = os.environ.get("BREASTKIT_REGISTRY") or os.environ.get("MLFLOW_TRACKING_URI")
    if named is None and _DEFAULT_STORE.is_file():
        named = f"{_SQLITE}{_DEFAULT_STORE}"
    return None if named in (None, NONE) else ModelRegistry(str(named))


class ModelRegistry:
    """A store of MLflow, as what is registered in it.

    Args:
        uri: a SQLite file (``sqlite:///…``) or the address of a server.

    Raises:
        BreastkitError: if it does not answer or is damaged.
    """

    def __init__(self, uri: str) -> None:
        check_store(uri)
        self.uri = uri

    def run(self, name: str) -> TrackedRun:
        """Returns a training by the name or id of its run; the latest with weights where several have the name.

        Raises:
            BreastkitError: if there is none, or it has no weights.
        """
        with self._sentences():
            found = self._runs_named(name)
            if not found:
                raise BreastkitError(
                    f"{self} has no run '{name}'; give its name, its id, or the folder it has written to."
                )
            made = [run for run in found if run.outputs.model_outputs]
            if not made:
                raise BreastkitError(
                    f"The run '{name}' in {self} has no weights ({found[0].info.status}); finish it with its train "
                    "command first."
                )
            run = made[0]
            model = self._client.get_logged_model(run.outputs.model_outputs[-1].model_id)
        dataset = next((each.dataset for each in run.inputs.dataset_inputs), None)
        return TrackedRun(
            name=str(run.info.run_name),
            run_id=run.info.run_id,
            bundle=model.tags["bundle"],
            commit=run.data.tags.get("mlflow.source.git.commit", "unknown"),
            data={"name": dataset.name.rpartition(",")[0], **json.loads(dataset.source)} if dataset else {},
            link=self._link(run),
            weights=model.artifact_location,
        )

    def fetch(self, place: str, folder: Path) -> Path:
        """Fetches ``model.pt`` and ``model.json`` from a place in the store into a folder, and returns that."""
        from mlflow.artifacts import download_artifacts

        with self._sentences(), tempfile.TemporaryDirectory() as temporary:
            there = Path(download_artifacts(artifact_uri=place, dst_path=temporary, tracking_uri=self.uri))
            for path in (there / FILE_NAME, (there / FILE_NAME).with_suffix(".json")):
                if not path.is_file():
                    raise BreastkitError(f"{self} has lost {path.name} of {place}; restore it from a backup.")
                shutil.copy(path, make_folder(folder) / path.name)
        return folder

    def evaluations(self, experiment: str, filter_string: str, folder: Path) -> list[Path]:
        """Fetches the evaluations of an experiment as folders like those that runs write, and returns these.

        Args:
            experiment: its name.
            filter_string: which runs, as MLflow filters them; empty for all.
            folder: where to.

        Raises:
            BreastkitError: if there is no such experiment, no evaluation in it, or the filter is none.
        """
        with self._sentences():
            known = self._client.get_experiment_by_name(experiment)
            if known is None:
                names = ", ".join(one.name for one in self._client.search_experiments())
                raise BreastkitError(f"{self} has no experiment {experiment}; there are {names}.")
            found = self._client.search_runs([known.experiment_id], filter_string, max_results=_MOST_RUNS)
            fetched = [place for run in found if (place := self._evaluation(run, folder)) is not None]
        if not fetched:
            raise BreastkitError(
                f"No run of {experiment} in {self} that the filter leaves is an evaluation; evaluate with --tracking "
                "mlflow/tracking_evaluate.json."
            )
        return fetched

    def _evaluation(self, run: Any, folder: Path) -> Path | None:
        from mlflow.artifacts import download_artifacts

        # Trainings have a metrics.csv too; evaluations alone were told which list to judge by.
        if "split" not in run.data.params:
            return None
        there = {artifact.path for artifact in self._client.list_artifacts(run.info.run_id)}
        if "metrics.csv" not in there:
            return None
        place = folder / f"{run.info.run_name}-{run.info.run_id[:6]}"
        for name, to in (
            ("metrics.csv", place / "evaluation"),
            ("summary.json", place / "evaluation"),
            ("model.json", place),
        ):
            if name in there:
                place_of = f"runs:/{run.info.run_id}/{name}"
                download_artifacts(artifact_uri=place_of, dst_path=str(make_folder(to)), tracking_uri=self.uri)
        params = {name: value for name, value in run.data.params.items() if value != "None"}
        facts = {name: params[name] for name in ("architecture", "fold", "case_list_hash") if name in params}
        write_json(place / "run.json", {**facts, "link": self._link(run), "settings": params})
        return place

    def versions(self, bundle: str) -> list[RegisteredVersion]:
        """Returns the versions of a bundle by their numbers."""
        with self._sentences():
            found: list[ModelVersion] = self._client.search_model_versions(f"name LIKE '{bundle}-%'")
            aliases = {name: self._client.get_registered_model(name).aliases for name in {one.name for one in found}}
        versions = [_registered(one, aliases[one.name]) for one in found if one.tags.get("bundle") == bundle]
        return sorted(versions, key=lambda one: one.number)

    def add(self, bundle: Bundle, number: int, folder: str | Path, facts: Mapping[str, Any]) -> None:
        """Registers weights under their number, unless they are there.

        Args:
            bundle: whose weights they are.
            number: of the version.
            folder: where they lie.
            facts: what else to say of the version.
        """
        known = {(one.number, one.sha256) for one in self.versions(bundle.name)}
        said = read_model_json(folder)
        if (number, said["sha256"]) in known:
            return
        from mlflow.exceptions import MlflowException

        name = registered_name(bundle.name, said["architecture"])
        with self._sentences():
            model = self._model_of(bundle, folder, facts)
            with suppress(MlflowException):
                # It may be there already.
                self._client.create_registered_model(name, tags={"bundle": bundle.name})
            self._client.create_model_version(
                name,
                source=model.artifact_location,
                run_id=model.source_run_id,
                # Of a model without a run MLflow 3.17 looks it up in the store of the process, not in this one.
                model_id=model.model_id if model.source_run_id else None,
                tags={
                    "bundle": bundle.name,
                    "number": str(number),
                    "sha256": said["sha256"],
                    **{key: str(value) for key, value in facts.items() if isinstance(value, str | int | float)},
                },
            )

    def set_candidate(self, bundle: str, number: int) -> None:
        """Puts the alias ``candidate`` at a version."""
        one = self._version(bundle, number)
        with self._sentences():
            self._client.set_registered_model_alias(one.model, CANDIDATE, one.version)

    def set_champion(self, bundle: str, number: int, facts: Mapping[str, str]) -> None:
        """Puts the alias ``champion`` at a version and takes it from those of other architectures.

        Args:
            bundle: its name.
            number: of the version.
            facts: what to say of the promotion.
        """
        one = self._version(bundle, number)
        with self._sentences():
            self._client.set_registered_model_alias(one.model, CHAMPION, one.version)
            for key, value in facts.items():
                self._client.set_model_version_tag(one.model, one.version, key, value)
            if CANDIDATE in one.aliases:
                self._client.delete_registered_model_alias(one.model, CANDIDATE)
            for other in {each.model for each in self.versions(bundle) if CHAMPION in each.aliases} - {one.model}:
                self._client.delete_registered_model_alias(other, CHAMPION)

    def _version(self, bundle: str, number: int) -> RegisteredVersion:
        found = next((one for one in self.versions(bundle) if one.number == number), None)
        if found is None:
            raise BreastkitError(f"{self} has no version {number} of {bundle}; `breastkit models list` shows what is.")
        return found

    def _runs_named(self, name: str) -> list[Any]:
        experiments = [one.experiment_id for one in self._client.search_experiments()]
        by = "attributes.run_id" if _RUN_ID.fullmatch(name) else "attributes.run_name"
        quoted = name.replace("'", "")
        found = self._client.search_runs(experiments, f"{by} = '{quoted}'", order_by=["attributes.start_time DESC"])
        return list(found)

    def _model_of(self, bundle: Bundle, folder: str | Path, facts: Mapping[str, Any]) -> LoggedModel:
        from breastkit.model_record import logged_model

        if run_id := facts.get("run_id"):
            experiment = self._client.get_run(str(run_id)).info.experiment_id
        else:
            known = self._client.get_experiment_by_name(bundle.name)
            experiment = known.experiment_id if known else self._client.create_experiment(bundle.name)
        return logged_model(self._client, experiment, folder, bundle)

    def _link(self, run: Any) -> str:
        place = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
        return f"{_shown(self.uri)}/{place}" if self.uri.startswith("http") else f"{_shown(self.uri)} {place}"

    def __str__(self) -> str:
        return f"the registry {_shown(self.uri)}"

    @cached_property
    def _client(self) -> MlflowClient:
        # MLflow reports every table it makes and every file it fetches.
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """Makes one sentence of whatever MLflow says."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except MlflowException as error:
            said = str(error).splitlines()[0]
            if error.error_code in _REFUSED or "error code 403" in said or "error code 401" in said:
                raise RefusedError(f"You may not change {self} ({said[:80]}); ask whoever looks after it.") from error
            raise BreastkitError(f"It did not work with {self}: {said[:200].rstrip('.')}.") from error
        except (SQLAlchemyError, OSError) as error:
            said = str(error).splitlines()[0][:200].rstrip(".")
            raise BreastkitError(f"It did not work with {self} ({said}); start it again or restore it.") from error


def registered_name(bundle: str, architecture: str) -> str:
    """Returns the name of a registered model."""
    return f"{bundle}-{architecture}"


def check_store(uri: str) -> None:
    """Makes the folder of a SQLite file and looks into it, and finds out quickly whether a server answers.

    Raises:
        BreastkitError: if it cannot be used.
    """
    if uri.startswith(_SQLITE):
        path = Path(uri.removeprefix(_SQLITE))
        make_folder(path.parent)
        if path.is_file():
            _check_sqlite(path)
    elif uri.startswith("http"):
        try:
            urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=10).close()
        except urllib.error.HTTPError:
            return
        except OSError as error:
            raise BreastkitError(
                f"The MLflow server {_shown(uri)} does not answer ({error}); start it, or name another one {_WHERE}."
            ) from error
    elif "://" not in uri or uri.startswith("file:"):
        raise BreastkitError(
            f"MLflow no longer keeps runs in plain folders such as {uri}; give --tracking_uri sqlite:///FILE.db or the "
            "address of a server."
        )


def _check_sqlite(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        raise BreastkitError(
            f"{path} is damaged ({error}); restore it from a backup, or name another one {_WHERE}."
        ) from error


def _registered(version: Any, aliases: Mapping[str, str]) -> RegisteredVersion:
    return RegisteredVersion(
        model=version.name,
        version=str(version.version),
        number=int(version.tags["number"]),
        sha256=version.tags["sha256"],
        source=version.source,
        aliases=tuple(sorted(alias for alias, at in aliases.items() if str(at) == str(version.version))),
        tags=version.tags,
    )


def _shown(uri: str) -> str:
    """Returns an address without the password that may stand in it."""
    return re.sub(r"//[^@/]+@", "//", uri)
