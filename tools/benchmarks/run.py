"""Finds the benchmarks of this folder, modules with a ``main() -> str``, and runs them."""

from __future__ import annotations

import ast
import difflib
import importlib
from collections.abc import Sequence
from pathlib import Path

from breastkit.errors import UsageError
from breastkit.progress import track


def available_benchmarks() -> dict[str, str]:
    """Returns the name and the first line of the docstring of every benchmark, without importing any."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            found[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def run_benchmarks(names: Sequence[str] = ()) -> str:
    """Runs benchmarks one after the other.

    Each compares two ways within one run, so its ratios carry to other machines. Let the machine be idle meanwhile.
    What annotation brings is simulated by 'breastkit bench active-learning', a verb of its own.

    Args:
        names: which to run, all by default; "list" shows what there is.

    Returns:
        What each printed.

    Raises:
        UsageError: if there is none of a name.
    """
    available = available_benchmarks()
    if list(names) == ["list"]:
        return "\n".join(f"{name}: {about}" for name, about in available.items())
    for name in names:
        if name not in available:
            near = difflib.get_close_matches(name, available, n=1)
            meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(available)}."
            raise UsageError(f"There is no benchmark {name!r}; {meant}")
    chosen = list(names) or list(available)
    return "\n\n".join(importlib.import_module(f"benchmarks.{name}").main() for name in track(chosen, "Benchmarks"))
