"""Lists of handlers and transforms that three bundles share stand once, as a class of the package."""

import json
from collections import Counter, defaultdict
from pathlib import Path

BUNDLES = Path(__file__).parents[2] / "bundles"
# So many components in a row that three bundles have alike are a list of their own.
_LONG = 3
# Lines of the six train.json, those of brackets left out, that stand in three or more of them.
_SHARED_LINES = 675


def lists_in(value):
    """Yields every list of components in a config."""
    if isinstance(value, list):
        if any(isinstance(each, dict) and "_target_" in each for each in value):
            yield value
        for each in value:
            yield from lists_in(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from lists_in(each)


def test_no_list_stands_in_three_bundles():
    held_by = defaultdict(set)
    for path in BUNDLES.glob("*/configs/*.json"):
        for components in lists_in(json.loads(path.read_text(encoding="utf-8"))):
            for start in range(len(components) - _LONG + 1):
                run = json.dumps(components[start : start + _LONG], sort_keys=True)
                held_by[run].add(path.parents[1].name)
    assert len(held_by) > 20
    assert {run: names for run, names in held_by.items() if len(names) > 2} == {}


def test_trainings_share_no_more_lines_than_they_do():
    """What three trainings share are ids that a user overrides; that number may fall, not grow."""
    trainings = [path.read_text(encoding="utf-8").splitlines() for path in BUNDLES.glob("*/configs/train.json")]
    lines = [[line.strip(" ,") for line in each if any(map(str.isalnum, line))] for each in trainings]
    held_by = Counter(line for each in lines for line in set(each))
    assert len(lines) == 6
    assert sum(held_by[line] > 2 for each in lines for line in each) <= _SHARED_LINES
