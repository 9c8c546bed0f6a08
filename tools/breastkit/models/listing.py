"""What there is and where it comes from: the answer for any served weight, and whether it is still what it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from breastkit.bundle import Bundle, find_bundles
from breastkit.errors import BreastkitError
from breastkit.model_registry import CHAMPION, ModelRegistry, RegisteredVersion, registered_name, registry_in_use
from breastkit.promotion import named, numbers_of, promotion_of, registration_of
from breastkit.weights import FILE_NAME, check_hash, read_model_json, weights_file


def list_models(*, models: str | None = None) -> str:
    """Says which weights every bundle has and which are in use.

    Args:
        models: where promoted versions are kept; what BREASTKIT_MODELS names, else work/models, by default.
    """
    lines, registry = [], registry_in_use()
    for bundle in find_bundles(models=models):
        if not bundle.shipped_weights.is_file():
            continue
        current = bundle.version_in_use
        there = {one.number: one for one in registry.versions(bundle.name)} if registry is not None else {}
        for number in sorted({0, *numbers_of(bundle), *there}):
            mark = "*" if number == current else " "
            lines.append(f"{mark} {bundle.name}  {named(number)}  {_line(bundle, number, there.get(number))}".rstrip())
    return "\n".join(lines) or "No bundle has weights here."


def show_model(name: str, *, version: int | None = None, models: str | None = None) -> str:
    """Says of weights which run made them, from which data and code, what they reach, and who promoted them.

    Args:
        name: a bundle, for what it runs with; or weights, or the folder they are in.
        version: another version of the bundle.
        models: where promoted versions are kept; what BREASTKIT_MODELS names, else work/models, by default.

    Raises:
        BreastkitError: if there are no such weights, or they are damaged.
    """
    path = weights_file(name)
    if path.is_file():
        bundle, number = _owner_of(path, models)
    else:
        bundle = Bundle(name, models=models)
        number = bundle.version_in_use if version is None else version
        path = bundle.weights_of_version(number) if bundle is not None else path
    check_hash(path)
    facts = read_model_json(path)
    registry = registry_in_use() if bundle is not None else None
    there = registry.versions(bundle.name) if bundle is not None and registry is not None else []
    registered = next((one for one in there if one.sha256 == facts["sha256"]), None)
    rows = provenance(bundle, number, path, registered)
    width = max(len(key) for key in rows) + 2
    return "\n".join(f"{key.ljust(width)}{value}" for key, value in rows.items())


def provenance(bundle: Bundle | None, number: int, path: Path, registered: RegisteredVersion | None) -> dict[str, str]:
    """Returns what is known of weights, a row each: the same in `show_model` and in a model card.

    Args:
        bundle: whose they are, where that is known.
        number: of the version.
        path: the weights.
        registered: what the registry says of them.
    """
    facts = read_model_json(path)
    origin = registration_of(bundle, number) if bundle is not None else {}
    promotion = promotion_of(bundle, number) if bundle is not None else {}
    origin = {**(dict(registered.tags) if registered else {}), **origin}
    state = "in use" if bundle is not None and number == bundle.version_in_use else "not in use"
    data = " ".join(str(origin[key]) for key in ("data_name", "data_path") if origin.get(key))
    digest = origin.get("data_sha256") or facts.get("case_list_hash") or "unknown"
    by = promotion.get("confirmed_by") or promotion.get("by")
    return {
        "weights": f"{bundle.name}, {named(number)}, {state}" if bundle is not None else f"{path}",
        "architecture": f"{facts['architecture']}, {facts.get('image_size', '?')} pixels",
        "sha256": str(facts["sha256"]),
        "threshold": str(facts.get("threshold", "none")),
        "run": " ".join(
            str(each) for each in (origin.get("run", facts.get("run", "unknown")), origin.get("link")) if each
        ),
        "data": f"{data} case list {digest[:16]}".strip(),
        "code": str(origin.get("code") or ("as it ships" if number == 0 else "unknown")),
        "figures": _figures(facts, promotion),
        "registered by": str(origin.get("by") or ("ships with the bundle" if number == 0 else "unknown")),
        "promoted by": f"{by}, {promotion['promoted']}" if by else ("ships" if number == 0 else "nobody"),
        "registry": f"{registered.model} {registered.version} {' '.join(registered.aliases)}".strip()
        if registered
        else "not registered",
    }


def verify_models(*, models: str | None = None) -> str:
    """Checks every shipped and promoted file against its hash, and what is in use against the registry.

    Args:
        models: where promoted versions are kept; what BREASTKIT_MODELS names, else work/models, by default.

    Returns:
        How much was checked.

    Raises:
        BreastkitError: if something is not what it was; every such thing is named.
    """
    problems, checked, registry = [], 0, registry_in_use()
    for bundle in find_bundles(models=models):
        shipped = sorted((bundle.folder / "models").rglob(FILE_NAME))
        for path in (*shipped, *(bundle.weights_of_version(number) for number in numbers_of(bundle))):
            checked += 1
            try:
                check_hash(path)
            except BreastkitError as error:
                problems.append(str(error))
        if registry is not None:
            problems += _differences(bundle, registry)
    if problems:
        raise BreastkitError("\n".join(problems))
    against = f", and against {registry}" if registry is not None else ""
    return f"{checked} files of weights are what they were{against}."


def _differences(bundle: Bundle, registry: ModelRegistry) -> Iterator[str]:
    there = {one.number: one for one in registry.versions(bundle.name)}
    for number in numbers_of(bundle):
        digest = read_model_json(bundle.weights_of_version(number))["sha256"]
        if number not in there:
            yield (
                f"{named(number).capitalize()} of {bundle.name} is not in {registry}; the next promotion or rollback "
                "tells it."
            )
        elif there[number].sha256 != digest:
            yield (
                f"{named(number).capitalize()} of {bundle.name} has another hash in {registry} ({there[number].model} "
                f"{there[number].version}); register the run again."
            )
    champions = [one.number for one in there.values() if CHAMPION in one.aliases]
    if champions and champions != [bundle.version_in_use]:
        yield (
            f"{bundle.name} runs with {named(bundle.version_in_use)} here, and the champion of {registry} is "
            f"{named(champions[0])}; promote that one, or roll back."
        )


def _line(bundle: Bundle, number: int, registered: RegisteredVersion | None) -> str:
    path = bundle.weights_of_version(number)
    if not path.is_file() and registered is not None:
        architecture = registered.model.removeprefix(registered_name(bundle.name, ""))
        return f"{architecture}  {registered.sha256[:12]}  {' '.join(registered.aliases)}  in the registry alone"
    facts = read_model_json(path)
    aliases = " ".join(registered.aliases) if registered else ""
    return f"{facts['architecture']}  {facts['sha256'][:12]}  {aliases}"


def _owner_of(path: Path, models: str | None) -> tuple[Bundle | None, int]:
    """Returns the bundle and version that a file of weights is, by its place."""
    for bundle in find_bundles(models=models):
        for number in (0, *numbers_of(bundle)):
            if bundle.weights_of_version(number).resolve() == path.resolve():
                return bundle, number
    return None, 0


def _figures(facts: Mapping[str, Any], promotion: Mapping[str, Any]) -> str:
    judged = promotion.get("judgements") or []
    said = [f"{one['measure']} {one['candidate']:.3f} on {one['cases']} test cases" for one in judged]
    if reached := promotion.get("reached"):
        said.append(f"{promotion['measure']} {reached['candidate']:.3f} on {promotion['validation_cases']} labels")
    trained = {key: value for key, value in facts.get("figures", {}).items() if isinstance(value, int | float)}
    return ", ".join([*said, *(f"{key} {value:.4g}" for key, value in trained.items())]) or json.dumps({})
