"""Finds the benchmarks of this folder, modules with a ``main() -> Measured``, and runs them."""

from __future__ import annotations

import ast
import difflib
import importlib
from collections.abc import Sequence
from pathlib import Path

from breastkit.atomic import make_folder, write_figures
from breastkit.errors import BreastkitError, UsageError
from breastkit.progress import track


def available_benchmarks() -> dict[str, str]:
    """Returns the name and the first line of the docstring of every benchmark, without importing any."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            found[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def run_benchmarks(names: Sequence[str] = (), *, out: str | None = None) -> str:
    """Runs benchmarks one after the other.

    Each compares two ways within one run, so its ratios carry to other machines. Let the machine be idle meanwhile.
    What annotation brings is simulated by 'breastkit bench active-learning', a verb of its own.

    Args:
        names: which to run, all that can run by default; "list" shows what there is.
        out: a folder to keep the figures in, as NAME/summary.json.

    Returns:
        What each found.

    Raises:
        UsageError: if there is none of a name.
        BreastkitError: if one that was named cannot run.
    """
    available = available_benchmarks()
    if list(names) == ["list"]:
        return "\n".join(f"{name}: {about}" for name, about in available.items())
    for name in names:
        if name not in available:
            near = difflib.get_close_matches(name, available, n=1)
            meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(available)}."
            raise UsageError(f"There is no benchmark {name!r}; {meant}")
    found = []
    for name in track(list(names) or list(available), "Benchmarks"):
        try:
            measured = importlib.import_module(f"benchmarks.{name}").main()
        except BreastkitError as error:
            if names:
                raise
            found.append(f"{name}: not run: {error}")
            continue
        found.append(str(measured))
        if out is not None:
            figures = {"command": f"breastkit bench {name}", **measured.figures}
            write_figures(make_folder(Path(out, name)) / "summary.json", figures)
    return "\n\n".join(found)
