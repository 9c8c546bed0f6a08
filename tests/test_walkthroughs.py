"""The walkthroughs run from start to end, at small settings, and what is kept of them is what they show today."""

import json
import re

import nbformat
import pytest
from tools.docs.walkthroughs import executed, light, walkthroughs

SMALL = {
    "breast_mri_tissue_segmentation": {"cases": 6, "size": 48, "image_size": 32, "epochs": 1},
    "breast_us_lesion_classification": {"count": 30, "sanity_pictures": 3},
}
NOTEBOOKS = {path.parents[1].name: path for path in walkthroughs()}
everyone = pytest.mark.parametrize("name", NOTEBOOKS)


def kinds(notebook):
    """What each cell of code shows, in order: pictures, tables, text."""
    found = []
    for cell in notebook.cells:
        kept = [output for output in cell.get("outputs", []) if output.output_type != "stream"]
        # The least of image, text/html (a table), text/markdown and text/plain is what is shown.
        of_cell = [min(output.data).partition("/jp")[0].partition("/pn")[0] for output in kept]
        found.append(of_cell + ["printed"] * (len(kept) < len(cell.get("outputs", []))))
    return found


@everyone
@pytest.mark.slow
def test_it_runs_and_shows_what_is_kept(name, tmp_path):
    """Where this fails after a change, `make notebooks` writes what the walkthroughs show now."""
    notebook = light(executed(NOTEBOOKS[name], tmp_path, SMALL[name]))
    assert kinds(notebook) == kinds(nbformat.read(NOTEBOOKS[name], as_version=4))
    assert {path.name for path in tmp_path.iterdir()} == {"work"}


@everyone
def test_what_is_kept_is_a_lesson_and_no_log(name):
    text = NOTEBOOKS[name].read_text(encoding="utf-8")
    assert len(text) < 1.5e6
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum(len(of_cell) for of_cell in kinds(notebook)) > 10
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    shown = json.dumps(
        [{**output, "data": {**output.get("data", {}), "image/png": "", "image/jpeg": ""}} for output in outputs]
    )
    assert not re.search(r"[\s'\"(](/|[A-Z]:\\\\)\w+/|\d+%\||\d\d:\d\d:\d\d|Warning", shown)
    assert notebook.cells[0].source.startswith("# ") and "not for diagnosis" in notebook.cells[0].source


def test_a_parameter_that_is_given_stands_instead(tmp_path):
    cells = [nbformat.v4.new_code_cell("x = 1", metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell("x + 1")]
    path = tmp_path / "a.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    notebook = executed(path, tmp_path, {"x": 41})
    assert [cell.source for cell in notebook.cells] == ["x = 1", "x + 1"]
    assert notebook.cells[1].outputs[0].data["text/plain"] == "42"
