"""A view that MLflow's interface shows of an experiment: its evaluations by data set, the best of each first.

The interface keeps the views that people save as tags of the experiment and names the one it shows in its address;
this one is made by the first evaluation.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "Best run on each data set"
_KEY = "best-on-each-data-set"
_TAG = f"mlflow.sharedViewState.{_KEY}"
# Of what evaluations measure, what runs are sorted by; that of another kind by what it lists first.
_DECIDE = ("dice", "box_map50", "correct")
_COLUMNS = 6
_MOST_EXPERIMENTS = 200
_PATIENCE_S = 3


def save_view(client: MlflowClient, experiment: str, figures: Sequence[str]) -> None:
    """Saves the view with an experiment, unless that has it.

    Args:
        client: of the store.
        experiment: its id.
        figures: what evaluations of it measure.
    """
    if _TAG in client.get_experiment(experiment).tags:
        return
    first = next((name for name in _DECIDE if name in figures), figures[0])
    keys = [f"metrics.`{name}`" for name in dict.fromkeys([first, *figures][:_COLUMNS])]
    by_dataset = [{"mode": "dataset", "groupByData": "dataset"}]
    state = {
        "searchFilter": f"{keys[0]} >= 0",
        "orderByKey": keys[0],
        "orderByAsc": False,
        "selectedColumns": ["attributes.`Dataset`", *keys, "params.`architecture`", "params.`split`"],
        "groupBy": {"aggregateFunction": "max", "groupByKeys": by_dataset},
        "runListHidden": False,
    }
    view = {"name": NAME, "createdAt": int(time.time() * 1000), "state": json.dumps(state)}
    client.set_experiment_tag(experiment, _TAG, json.dumps(view))


def saved_views(address: str) -> list[tuple[str, str]]:
    """Asks an MLflow server which experiments have the view, and returns their names and where it is shown.

    Args:
        address: of the server. One that does not answer has none.
    """
    asked = urllib.request.Request(
        f"{address}api/2.0/mlflow/experiments/search",
        json.dumps({"max_results": _MOST_EXPERIMENTS}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=_PATIENCE_S) as answer:
            experiments: list[dict[str, Any]] = json.load(answer).get("experiments", [])
    except (OSError, ValueError):
        return []
    return sorted(
        (one["name"], f"{address}#/experiments/{one['experiment_id']}/runs?viewStateShareKey={_KEY}")
        for one in experiments
        if any(tag["key"] == _TAG for tag in one.get("tags", []))
    )
