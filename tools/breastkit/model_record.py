"""A model in MLflow: the weights that a run made or judged, and the case lists it did so on.

A `LoggedModel` is known by the hash of its weights, so that an evaluation finds the one that a training made, and
weights that came from elsewhere get one when they are first judged. A data set is known by its name, its list and the
hash of that list's items: figures of two runs belong together where both say the same.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from breastkit.bundle import Bundle
from breastkit.cases import CaseList, Item
from breastkit.weights import FILE_NAME, read_model_json, weights_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Dataset, LoggedModel
    from mlflow.models import ModelSignature
    from mlflow.types import Schema

# Of an item, whose numbers say what a list is made of.
_COUNTED = ("class", "site", "device")
_LONGEST_DIGEST = 32


def dataset_of(cases: CaseList, split: str, items: Sequence[Item]) -> Dataset:
    """Returns a list of a case list as MLflow keeps data sets: its name, its hash and what it is made of.

    Args:
        cases: the case list.
        split: what the list is called.
        items: its items, as they are used.
    """
    from mlflow.entities import Dataset

    listed = replace(cases, training=[], validation=[], test=list(items), inference=[])
    counts = {fact: dict(Counter(str(item[fact]) for item in items if fact in item)) for fact in _COUNTED}
    profile: dict[str, Any] = {"images": len(items), "cases": len({str(item.get("case")) for item in items})}
    return Dataset(
        name=f"{cases.facts.get('name', cases.path.parent.name)}, {split}",
        digest=listed.hash[:_LONGEST_DIGEST],
        source_type="case list",
        source=json.dumps({"path": str(cases.path), "sha256": cases.hash}),
        profile=json.dumps(profile | {fact: count for fact, count in counts.items() if count}),
    )


def log_datasets(client: MlflowClient, run_id: str, datasets: Mapping[str, Dataset]) -> None:
    """Tells a run which data sets it uses, by what for."""
    from mlflow.entities import DatasetInput, InputTag
    from mlflow.exceptions import MlflowException

    inputs = [
        DatasetInput(dataset, [InputTag("mlflow.data.context", context)]) for context, dataset in datasets.items()
    ]
    try:
        client.log_inputs(run_id, inputs)
    except MlflowException:
        # Of two runs that start at once, the one that comes second to enter a data set finds it when it asks again.
        client.log_inputs(run_id, inputs)


def made_model(client: MlflowClient, run_id: str, weights: str | Path, bundle: Bundle) -> LoggedModel:
    """Logs the weights that a run has made as its model, and returns that."""
    from mlflow.entities import LoggedModelOutput

    model = logged_model(client, _experiment_of(client, run_id), weights, bundle, source=run_id)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model


def judged_model(client: MlflowClient, run_id: str, weights: str | Path, bundle: Bundle) -> LoggedModel:
    """Returns the model of the weights that a run judges; one is logged where they came from elsewhere."""
    from mlflow.entities import LoggedModelInput

    model = logged_model(client, _experiment_of(client, run_id), weights, bundle)
    client.log_inputs(run_id, models=[LoggedModelInput(model.model_id)])
    return model


def log_figures(
    client: MlflowClient, run_id: str, figures: Mapping[str, float], model: LoggedModel, dataset: Dataset
) -> None:
    """Logs figures that a model reaches on a data set."""
    for name, value in figures.items():
        client.log_metric(
            run_id,
            name,
            value,
            model_id=model.model_id,
            dataset_name=dataset.name,
            dataset_digest=dataset.digest,
        )


def logged_model(
    client: MlflowClient, experiment: str, weights: str | Path, bundle: Bundle, *, source: str | None = None
) -> LoggedModel:
    """Returns the model of weights in an experiment, which is logged where there is none yet.

    Args:
        client: of the store.
        experiment: its id.
        weights: the weights, or the folder they are in.
        bundle: whose weights they are.
        source: the id of the run that made them, where one did.
    """
    from mlflow.models import Model

    facts = read_model_json(weights)
    known = client.search_logged_models([experiment], f"tags.sha256 = '{facts['sha256']}'", max_results=1)
    if known:
        return known[0]
    model = client.create_logged_model(
        experiment,
        name=f"{bundle.name}-{facts['architecture']}",
        source_run_id=source,
        tags={"sha256": facts["sha256"], "bundle": bundle.name, "run": str(facts.get("run", ""))},
        params={name: str(value) for name, value in facts.items() if isinstance(value, str | int | float)},
        model_type=bundle.purpose.role,
    )
    with tempfile.TemporaryDirectory() as temporary:
        file = weights_file(weights)
        for name, path in ((FILE_NAME, file), (f"{Path(FILE_NAME).stem}.json", file.with_suffix(".json"))):
            shutil.copy(path, Path(temporary) / name)
        description = Model(run_id=source, signature=signature_of(bundle), model_uuid=model.model_id)
        description.add_flavor("breastkit", bundle=bundle.name, architecture=facts["architecture"], weights=FILE_NAME)
        description.save(str(Path(temporary) / "MLmodel"))
        client.log_model_artifacts(model.model_id, temporary)
    return client.finalize_logged_model(model.model_id, "READY")


def _experiment_of(client: MlflowClient, run_id: str) -> str:
    return str(client.get_run(run_id).info.experiment_id)


def signature_of(bundle: Bundle) -> ModelSignature:
    """Returns what a bundle's network takes and gives, as its metadata says; -1 is any length."""
    from mlflow.models import ModelSignature

    data = bundle.metadata["network_data_format"]
    return ModelSignature(inputs=_schema(data["inputs"]), outputs=_schema(data["outputs"]))


def _schema(tensors: Mapping[str, Any]) -> Schema:
    from mlflow.types import Schema, TensorSpec

    return Schema(
        [
            TensorSpec(
                np.dtype(tensor["dtype"]),
                (-1, int(tensor["num_channels"]), *[-1] * len(tensor["spatial_shape"])),
                name=name,
            )
            for name, tensor in tensors.items()
        ]
    )
