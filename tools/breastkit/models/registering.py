"""Makes what a run has trained a version of its bundle."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from breastkit.bundle import Bundle, find_bundles
from breastkit.errors import BreastkitError
from breastkit.model_registry import TrackedRun, registry_in_use
from breastkit.promotion import register_weights
from breastkit.weights import FILE_NAME, read_model_json, weights_file


def register_run(run: str, *, bundle: str | None = None, models: str | None = None) -> str:
    """Makes the weights of a run a version of its bundle, to be promoted or not; nothing runs with them yet.

    Args:
        run: its name or id in MLflow, or the folder it has written to.
        bundle: whose weights they are; by default what the run says.
        models: where versions are kept; what BREASTKIT_MODELS names, else work/models, by default.

    Returns:
        Which version they are.

    Raises:
        BreastkitError: if there is no such run, it has no weights or they are damaged.
    """
    folder = Path(run)
    if weights_file(folder).is_file():
        facts = _facts_of(folder)
        of = Bundle(bundle or _bundle_of(folder), models=models)
        number = register_weights(of, weights_file(folder).parent, facts)
    else:
        of, number = _register_tracked(run, bundle, models)
    architecture = read_model_json(of.weights_of_version(number))["architecture"]
    return (
        f"{run} is version {number} of {of.name} ({architecture}); breastkit models promote {of.name} {number} has it "
        "judged and used."
    )


def facts_of_run(run: TrackedRun) -> dict[str, Any]:
    """Returns what is kept of where weights come from."""
    return {
        "run": run.name,
        "run_id": run.run_id,
        "link": run.link,
        "code": run.commit,
        **{f"data_{key}": value for key, value in run.data.items()},
    }


def _register_tracked(run: str, bundle: str | None, models: str | None) -> tuple[Bundle, int]:
    registry = registry_in_use()
    if registry is None:
        raise BreastkitError(
            f"{run} is no folder with a {FILE_NAME}, and there is no MLflow to ask; give the run's output folder, or "
            "set MLFLOW_TRACKING_URI."
        )
    found = registry.run(run)
    of = Bundle(bundle or found.bundle, models=models)
    data = found.data
    if "path" in data:
        # As it was given, perhaps from the working folder.
        found.data["path"] = str(Path(data["path"]).absolute())
    with tempfile.TemporaryDirectory() as temporary:
        weights = registry.fetch(found.weights, Path(temporary))
        return of, register_weights(of, weights, facts_of_run(found))


def _facts_of(folder: Path) -> dict[str, Any]:
    """Returns where the weights of an output folder come from, as the files beside them say."""
    known = read_model_json(folder)
    begun = weights_file(folder).with_name("run.json")
    state = json.loads(begun.read_text(encoding="utf-8")) if begun.is_file() else {}
    if state.get("state", "finished") != "finished":
        raise BreastkitError(f"{folder} holds a run that is not finished; finish it with its train command first.")
    facts = {
        "run": known.get("run", folder.name),
        "code": state.get("code", "unknown"),
    }
    return facts | ({"data_sha256": known["case_list_hash"]} if known.get("case_list_hash") else {})


def _bundle_of(folder: Path) -> str:
    """Returns the bundle that a folder's place names, as in runs/BUNDLE/ARCHITECTURE."""
    names = {bundle.name for bundle in find_bundles()}
    found = [part for part in weights_file(folder).absolute().parts if part in names]
    if not found:
        raise BreastkitError(f"{folder} does not say of which bundle it is; name that with --bundle.")
    return found[-1]
