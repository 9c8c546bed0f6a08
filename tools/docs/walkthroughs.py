"""The walkthroughs of the bundles: notebooks that are run here, so that what they show is what the code does today.

`make notebooks` runs every ``bundles/*/docs/walkthrough.ipynb`` and writes its outputs anew. What does not belong to
the lesson is left out of them: times, progress bars, logs.
"""

from __future__ import annotations

import base64
import io
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from PIL import Image
from traitlets.config import Config

from breastkit.atomic import write_text

ROOT = Path(__file__).resolve().parents[2]
# Tag of the cell whose values may be replaced, as papermill calls it.
PARAMETERS = "parameters"
# The quality of photographs as JPEG, and the width in pixels that a page has for a picture.
_QUALITY, _WIDEST = 80, 900


def walkthroughs() -> list[Path]:
    """Returns the notebooks, by bundle."""
    return sorted(ROOT.glob("bundles/*/docs/walkthrough.ipynb"))


def executed(path: Path, folder: str | Path, parameters: Mapping[str, Any] | None = None) -> NotebookNode:
    """Runs a notebook in a kernel of its own and returns it with its outputs.

    Args:
        path: the notebook.
        folder: the working folder; what it writes is in there.
        parameters: values that stand instead of those in the cell tagged ``parameters``.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell raises.
    """
    notebook = nbformat.read(path, as_version=4)
    parameters = parameters or {}
    position = next(n for n, cell in enumerate(notebook.cells) if PARAMETERS in cell.metadata.get("tags", []))
    given = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    notebook.cells.insert(position + 1, new_code_cell(given))
    with tempfile.TemporaryDirectory() as private:
        # IPython and Jupyter keep history and sockets in the home folder otherwise.
        kernel = {"transport": "ipc", "connection_file": f"{private}/kernel.json"}
        client = NotebookClient(
            notebook,
            config=Config(KernelManager=kernel),
            timeout=None,
            record_timing=False,
            resources={"metadata": {"path": str(folder)}},
        )
        client.execute(env={**os.environ, "IPYTHONDIR": private})
    del notebook.cells[position + 1]
    return notebook


def light(notebook: NotebookNode) -> NotebookNode:
    """Returns an executed notebook as it is kept: without what differs from run to run, and with small pictures."""
    for count, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), start=1):
        cell.metadata.pop("execution", None)
        cell.execution_count = count
        # Progress and logs are for whoever sits in front of it.
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
            if "image/png" in output.get("data", {}):
                # Pillow gives every picture as JPEG too.
                kind, data = small_picture(base64.b64decode(output.data["image/png"]))
                output.data, output.metadata = NotebookNode({kind: base64.b64encode(data).decode()}), NotebookNode()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def small_picture(png: bytes) -> tuple[str, bytes]:
    """Returns a picture in the smaller form, and its kind: photographs as JPEG, drawings as PNG of few colours."""
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    if flat.width > _WIDEST:
        flat = flat.resize((_WIDEST, round(flat.height * _WIDEST / flat.width)), Image.Resampling.LANCZOS)
    photograph, drawing = io.BytesIO(), io.BytesIO()
    flat.save(photograph, "JPEG", quality=_QUALITY, optimize=True)
    flat.quantize(128, dither=Image.Dither.NONE).save(drawing, "PNG", optimize=True)
    if len(drawing.getvalue()) <= len(photograph.getvalue()):
        return "image/png", drawing.getvalue()
    return "image/jpeg", photograph.getvalue()


def main() -> None:
    """Runs all walkthroughs, or those of the bundles named, and writes them."""
    for path in walkthroughs():
        if sys.argv[1:] and path.parents[1].name not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            notebook = light(executed(path, folder))
        write_text(path, nbformat.writes(notebook) + "\n")
        sys.stdout.write(f"Written: {path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
