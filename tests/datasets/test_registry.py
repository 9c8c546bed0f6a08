import importlib
from pathlib import Path

import pytest

from breastkit.cli import COMMANDS
from breastkit.datasets.registry import DataSet, data_sets
from breastkit.usage import find

ROOT = Path(__file__).parents[2]
README = ROOT / "tools/breastkit/datasets/README.md"
TESTS = ROOT / "tests/datasets"


@pytest.mark.parametrize("name", data_sets())
def test_what_is_read_from_the_source_is_what_the_module_declares(name):
    module = importlib.import_module(f"breastkit.datasets.{name}")
    assert data_sets()[name] == module.DATA_SET
    assert callable(getattr(module, f"prepare_{name}"))


@pytest.mark.parametrize("name", data_sets())
def test_every_set_has_a_line_in_the_readme_and_a_test(name):
    assert f"`prepare {name}`" in README.read_text(encoding="utf-8")
    assert (TESTS / f"test_{name}.py").is_file()


def test_the_command_line_lists_every_set_in_order_of_place():
    group, _, _ = find(COMMANDS, ["data", "prepare"], program="breastkit")
    assert list(group.members) == list(data_sets())
    places = [found.place for found in data_sets().values()]
    assert places == sorted(set(places))


def test_sets_without_a_place_come_last_by_name(tmp_path):
    for name, place in (("b", ""), ("a", ""), ("z", ", place=3")):
        declared = f'DATA_SET = DataSet(summary="{name}", example=""{place})'
        (tmp_path / f"{name}.py").write_text(f'"""A set."""\n\n{declared}\n')
    (tmp_path / "shared.py").write_text('"""Says DATA_SET = in its text alone."""\n')
    assert list(data_sets(tmp_path)) == ["z", "a", "b"]
    assert data_sets(tmp_path)["z"] == DataSet(summary="z", example="", place=3)
