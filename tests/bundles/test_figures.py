"""Every figure of the cards' performance and limitations and of the front page is what its summary says."""

import json
import re
from pathlib import Path
from typing import ClassVar

import pytest

from breastkit.models.card_figures import (
    COMMENT,
    eval_metrics,
    figures,
    measured,
    measured_of_all,
    paths,
    problems,
    values,
)

ROOT = Path(__file__).parents[2]
BUNDLES = sorted(path.parents[1] for path in ROOT.glob("bundles/*/configs/metadata.json"))
CARDS = {
    **{
        folder.name: (folder / "docs/README.md", measured(folder), ("Performance", "Limitations")) for folder in BUNDLES
    },
    "front page": (ROOT / "README.md", measured_of_all(ROOT / "bundles"), ("The bundles",)),
}
# What a card says of the size of a network: its name, and millions of parameters.
SIZE = re.compile(r"`(\w+)`[^`|]*?(\d+\.\d+) M\b")
SIZED = [
    (folder, *found.groups())
    for folder in BUNDLES
    for found in SIZE.finditer(CARDS[folder.name][0].read_text(encoding="utf-8").partition("\n## Data")[0])
]


@pytest.fixture(params=CARDS)
def card(request):
    path, read, sections = CARDS[request.param]
    return path.read_text(encoding="utf-8"), read, sections


def test_every_figure_is_what_its_summary_says(card):
    assert problems(*card) == []


def test_a_changed_digit_in_the_text_is_noticed(card):
    text, read, sections = card
    for figure in [figure for figure in figures(text) if paths(figure.source)]:
        digit = re.search(r"\d(?=\D*\Z)", figure.text)
        place = figure.start + digit.start()
        # By five, because a value on the border of two digits may be written as either.
        changed = text[:place] + str((int(digit[0]) + 5) % 10) + text[place + 1 :]
        assert problems(changed, read, sections) != [], figure


def test_a_changed_summary_is_noticed(card):
    text, read, sections = card
    for path in sorted({path for figure in figures(text) for path in paths(figure.source)}):

        def changed(asked, path=path):
            value = read(asked)
            if asked != path:
                return value
            return [None if entry is None else entry + 1 for entry in value] if isinstance(value, list) else value + 1

        assert problems(text, changed, sections) != [], path


def test_a_figure_without_source_is_noticed(card):
    text, read, sections = card
    if not figures(text):
        pytest.skip("the card states no measured figure")
    assert problems(COMMENT.sub("", text), read, sections) != []


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda path: path.name)
def test_what_is_kept_is_summaries_that_the_card_uses(folder):
    text = (folder / "docs/README.md").read_text(encoding="utf-8")
    used = {path.split("/")[0] for figure in figures(text) for path in paths(figure.source)}
    kept = {path.parent.name: path for path in (folder / "docs/measured").glob("*/*")}
    assert {path.name for path in kept.values()} <= {"summary.json", "comparison.json"}
    for path in [path for path in kept.values() if path.name == "comparison.json"]:
        methods = json.loads(path.read_text(encoding="utf-8"))["methods"].values()
        used |= {run for method in methods for run in method["runs"]}
    assert set(kept) - used == set()


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda path: path.name)
def test_metadata_state_the_figures_of_what_ships(folder):
    metadata = json.loads((folder / "configs/metadata.json").read_text(encoding="utf-8"))
    read = measured(folder)
    sources = eval_metrics((folder / "docs/README.md").read_text(encoding="utf-8"))
    assert metadata["eval_metrics"] == {name: values(source, read)[0] for name, source in sources.items()}
    assert metadata["eval_metrics"] or not (folder / "models/model.pt").is_file()


@pytest.mark.parametrize(("folder", "architecture", "stated"), SIZED)
def test_networks_are_as_large_as_the_card_says(folder, architecture, stated):
    from breastkit.networks import from_file

    network = from_file(folder / "configs/networks.json", architecture)
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert stated == f"{millions:.{len(stated.partition('.')[2])}f}"


class TestReadingCards:
    """The reader itself: a mistake in it would make the tests above pass for nothing."""

    summaries: ClassVar = {"a": {"dice": [0.74499, 0.721, 0.7676], "images": 188, "share": 0.263}}

    def problems(self, text):
        def read(path):
            value = self.summaries
            for key in path.split("/"):
                value = value[key] if isinstance(value, dict) else value[int(key)]
            return value

        return problems(f"## Performance\n\n{text}\n", read, ("Performance",))

    @pytest.mark.parametrize(
        ("written", "source"),
        [
            ("0.745 (0.721 to 0.768)", "a/dice"),
            ("0.74", "a/dice"),
            ("0.721 to 0.768", "a/dice/1 & a/dice/2"),
            ("26 %", "a/share"),
            ("376 of 189", "a/images + a/images & a/images + 1"),
            ("+0.482", "a/dice - a/share"),
            ("7.5", "(of the machine)"),
        ],
    )
    def test_figures_that_hold(self, written, source):
        assert self.problems(f"<!-- figures\n{written} ← {source}\n-->\nIt is {written} here.") == []

    @pytest.mark.parametrize(
        ("written", "source", "problem"),
        [
            ("0.75", "a/dice", "0.75 is stated, a/dice says 0.74499"),
            ("0.745 (0.721 to 0.767)", "a/dice", "0.767 is stated"),
            ("0.745 (0.721 to 0.768)", "a/share", "3 numbers, but a/share has 1"),
            ("0.745", "a/iou", "cannot be read"),
            ("0.745", "(a guess)", "is no reason"),
            ("0.745", "(no summary kept)", "say in the text that there is no summary kept"),
        ],
    )
    def test_figures_that_do_not_hold(self, written, source, problem):
        (found,) = self.problems(f"<!-- figures\n{written} ← {source}\n-->\nIt is {written} here.")
        assert problem in found

    def test_a_table(self):
        comment = "<!-- figures\n| - | images | dice |\na\n| - | a/images | a/share |\n(published)\n-->\n"
        head = "| network 0.5 | images | Dice |\n|---|---|---|\n"
        rows = ["| `x 1.5` | 188 | 0.745 (0.721 to 0.768) |", "| y | 188 | 26 % |", "| z | | 0.9 |"]
        assert self.problems(comment + head + "\n".join(rows)) == []
        (found,) = self.problems(comment + head + "\n".join([rows[0], rows[1].replace("188", "187"), rows[2]]))
        assert "187 is stated" in found
        (found,) = self.problems(comment + head + "\n".join(rows[:2]))
        assert "2 rows, but 3 sources" in found

    def test_what_a_comment_names_stands_below_it(self):
        (found,) = self.problems("<!-- figures\n0.74 ← a/dice\n-->\nIt is 0.745 here.")
        assert found == "'0.74' does not stand below its comment, or not in this order"

    def test_what_has_no_source(self):
        found = self.problems("It is 0.745 here, with 95 % intervals over 188 images, `--lr 0.1`, and 26 % there.")
        assert found == ["Performance: 0.745 has no source", "Performance: 26 % has no source"]
