"""Which data sets there are: every module of this folder that declares one as ``DATA_SET``.

The command line lists them with every help text, so the declarations are read from the source: importing the modules
would load OpenCV, scipy and more first. What ``DATA_SET`` is given are therefore plain texts and numbers.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

_NAME = "DATA_SET"
_LAST = 1000


@dataclass(frozen=True)
class DataSet:
    """What a data set's module says of it; ``breastkit data prepare <module>`` calls its ``prepare_<module>``.

    Attributes:
        summary: one line for the list of sets.
        example: a command line that prepares it.
        place: where it stands in the list; without one a set comes after the others, by name.
    """

    summary: str
    example: str
    place: int = _LAST


def data_sets(folder: Path = Path(__file__).parent) -> dict[str, DataSet]:
    """Returns the data sets that the modules of a folder declare, by name of module, in order of their places."""
    found = {path.stem: declared for path in folder.glob("*.py") if (declared := _declared(path)) is not None}
    return dict(sorted(found.items(), key=lambda item: (item[1].place, item[0])))


def _declared(path: Path) -> DataSet | None:
    source = path.read_text(encoding="utf-8")
    if f"\n{_NAME} = " not in source:
        return None
    for node in ast.parse(source, str(path)).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and ast.unparse(node.targets[0]) == _NAME:
            return DataSet(**{word.arg: ast.literal_eval(word.value) for word in node.value.keywords if word.arg})
    return None
