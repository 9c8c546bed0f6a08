"""Writes what is on record into a bundle's model card: measured figures, and where its weights come from."""

from __future__ import annotations

import re
from pathlib import Path

from breastkit.atomic import write_text
from breastkit.bundle import Bundle
from breastkit.errors import BreastkitError
from breastkit.model_registry import registry_in_use
from breastkit.models.card_figures import measured, rewritten
from breastkit.models.listing import provenance
from breastkit.weights import read_model_json

_HEADING = "## Weights in use"
_SECTION = re.compile(rf"^{_HEADING}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_BEFORE = re.compile(r"^## License", re.MULTILINE)
# A card is read elsewhere: folders and addresses of this machine say nothing there.
_LEFT_OUT = re.compile(r" ?(?:\w+:)?/\S*(?: #/\S+)?")


def fill_card(name: str, *, out: str | None = None, models: str | None = None) -> Path:
    """Writes the figures of a model card anew from the summaries they come from, and says which weights are in use.

    Every figure names its source in a comment above it; one whose source cannot be read changes nothing.

    Args:
        name: of the bundle.
        out: the file to write; the card itself by default.
        models: where promoted versions are kept; what BREASTKIT_MODELS names, else work/models, by default.

    Returns:
        The card.

    Raises:
        BreastkitError: if there is no card, or a figure's source is unknown.
    """
    bundle = Bundle(name, models=models)
    card = bundle.folder / "docs" / "README.md"
    if not card.is_file():
        raise BreastkitError(f"{card} does not exist; a bundle has its model card there.")
    try:
        text = rewritten(card.read_text(encoding="utf-8"), measured(bundle.folder))
    except ValueError as error:
        raise BreastkitError(f"{card} is left as it is: {error}; restore the summary, or name another.") from error
    section = _section(bundle)
    if _SECTION.search(text):
        text = _SECTION.sub(lambda _: section, text, count=1)
    else:
        place = found.start() if (found := _BEFORE.search(text)) else len(text)
        text = f"{text[:place]}{section}{text[place:]}"
    return write_text(Path(out) if out else card, text)


def _section(bundle: Bundle) -> str:
    number, registry = bundle.version_in_use, registry_in_use()
    path = bundle.weights_of_version(number)
    there = registry.versions(bundle.name) if registry is not None else []
    registered = next((one for one in there if one.sha256 == read_model_json(path)["sha256"]), None)
    rows = provenance(bundle, number, path, registered)
    lines = [f"| {key} | {_LEFT_OUT.sub('', value)} |" for key, value in rows.items()]
    return "\n".join([_HEADING, "", "| of what is in use | on record |", "|---|---|", *lines, "", ""])
