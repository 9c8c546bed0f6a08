"""Reads which summary each figure of a model card comes from, and compares the two.

Above a block with measured figures (a table, paragraph or list) stands a comment. In prose it has a line a figure, in
the order of the text, with the source behind an arrow:

    <!-- figures
    0.590 (0.476 to 0.697) ← phantoms/lesion_images/dice
    64 ← fold0/lesion_images/without_mask + fold1/lesion_images/without_mask
    0.002 ← (setting)
    -->

A source is a path: a folder of ``docs/measured``, then keys of the one JSON file in it (or ``models`` for
``models/model.json``; on the front page a bundle comes first). Sources can be added and subtracted, or a whole number
to them; ``&`` puts sources in a row. Above a table the first line says what the columns are, and each further line
where a row comes from: one path for all columns, or a source for every column.

    <!-- figures
    | - | images | lesion_images/dice |
    fold0
    | - | fold1/images | fold1/lesion_images/dice |
    -->

A comment ``eval_metrics`` in the card says in the same way where the figures of the metadata come from, a name a line.

What cannot be compared is given a reason in brackets, one of `REASONS`. Every number with a decimal point or a percent
sign must be named, `code` apart; whole numbers may be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

REASONS = ("(setting)", "(published)", "(of the machine)", "(of the network)", "(in the picture)", "(no summary kept)")
# What a block must say in plain words where a figure's summary is gone.
NOT_KEPT = "no summary kept"
COMMENT = re.compile(r"<!-- figures\n(?P<lines>.*?)-->\n", re.DOTALL)
METRICS = re.compile(r"<!-- eval_metrics\n(?P<lines>.*?)-->", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:,\d{3})*(?:\.\d+)?(?!\w)")
# What has to have a source: decimals and percentages; "95 %" is how wide all intervals are.
CLAIM = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.])|(?<![\w.])(?!95 %)\d+ %")
_NO_CLAIMS = re.compile(r"^```.*?^```|<!--.*?-->|`[^`]*`|^\|[^\n]*\|\n(?=\|-)", re.DOTALL | re.MULTILINE)
# Summaries are rounded to five digits.
_ROUNDED = 6e-6

Read = Callable[[str], Any]


@dataclass(frozen=True)
class Figure:
    """A figure of a text and where it comes from.

    Attributes:
        start: where it begins in the text.
        end: where it ends.
        text: how it is written.
        source: a path, sources put together, or a reason.
        stated: where it stands in the comment, in prose.
    """

    start: int
    end: int
    text: str
    source: str
    stated: tuple[int, int] | None = None


def measured(folder: Path) -> Read:
    """Returns what reads values by their path from a bundle's summaries."""

    def read(path: str) -> Any:
        name, *keys = path.split("/")
        place = folder / "models" if name == "models" else folder / "docs" / "measured" / name
        (file,) = place.glob("*.json")
        value = _content(file)
        for key in keys:
            value = value[int(key) if isinstance(value, list) else key]
        return value

    return read


@cache
def _content(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def measured_of_all(bundles: Path) -> Read:
    """Returns what reads values by a path that begins with a bundle's name."""

    def read(path: str) -> Any:
        bundle, _, rest = path.partition("/")
        return measured(bundles / bundle)(rest)

    return read


def figures(text: str) -> list[Figure]:
    """Returns every figure that a comment of the text names.

    Raises:
        ValueError: if a comment names what does not stand in the block below it.
    """
    found = []
    for comment in COMMENT.finditer(text):
        end = _end_of_block(text, comment.end())
        lines = [line.strip() for line in comment["lines"].splitlines()]
        of_table = lines[0].startswith("|")
        found += list(
            _of_table(text, comment.end(), end, lines)
            if of_table
            else _of_prose(text, comment.end(), end, lines, comment.start("lines"))
        )
    return found


def eval_metrics(text: str) -> dict[str, str]:
    """Returns the source of every figure of the metadata, by the name it has there."""
    found = METRICS.search(text)
    lines = found["lines"].splitlines() if found else []
    return {name: source for name, _, source in (line.partition(" ← ") for line in lines)}


def problems(text: str, read: Read, sections: tuple[str, ...]) -> list[str]:
    """Returns a sentence for every figure that is not what its source says, or that has none.

    Args:
        text: a card.
        read: returns the value at a path.
        sections: the headings under which every figure needs a source.
    """
    try:
        named = figures(text)
    except ValueError as error:
        return [str(error)]
    said = [sentence for figure in named if (sentence := _problem(figure, text, read))]
    covered = _blanked(text, [(figure.start, figure.end) for figure in named])
    for section in sections:
        start, end = _section(text, section)
        said += [f"{section}: {claim[0]} has no source" for claim in CLAIM.finditer(covered, start, end)]
    return said


def paths(source: str) -> list[str]:
    """Returns the paths of a source; none where it is a reason."""
    return [] if source.startswith("(") else [path for path in re.split(r" [&+-] ", source) if not path.isdigit()]


def values(source: str, read: Read) -> list[float]:
    """Returns the numbers of a source, in a row."""
    row: list[float] = []
    for part in source.split(" & "):
        first, *further = re.split(r" (?=[+-] )", part)
        value = read(first)
        numbers = list(value) if isinstance(value, list) else [value]
        for term in further:
            other = float(term[2:]) if term[2:].isdigit() else read(term[2:])
            other = other[0] if isinstance(other, list) else other
            numbers = [numbers[0] + other if term[0] == "+" else numbers[0] - other]
        row += numbers
    return row


def rewritten(text: str, read: Read) -> str:
    """Returns a text whose figures are what their sources say, as many digits as they have.

    Raises:
        ValueError: if a comment names what does not stand below it, or a source cannot be read.
    """
    spans: list[tuple[int, int, str]] = []
    for figure in figures(text):
        if figure.source.startswith("("):
            continue
        try:
            row = values(figure.source, read)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise ValueError(f"{figure.source} of {figure.text.strip()!r} cannot be read ({error!r})") from error
        written = _written(figure.text, row, figure.source)
        spans.append((figure.start, figure.end, written))
        if figure.stated:
            spans.append((*figure.stated, _written(text[slice(*figure.stated)], row, figure.source)))
    for start, end, written in sorted(spans, reverse=True):
        text = text[:start] + written + text[end:]
    return text


def _written(text: str, row: list[float], source: str) -> str:
    """Returns a figure with other numbers in it, written as they were."""
    scale, given = 100 if "%" in text else 1, iter(row)

    def number(found: re.Match[str]) -> str:
        value = next(given, None)
        if value is None:
            raise ValueError(f"{source} has no number for {found[0]} of {text.strip()!r}")
        digits = len(found[0].partition(".")[2])
        if abs(float(found[0].replace(",", "")) - scale * value) <= 0.5 * 10**-digits + scale * _ROUNDED:
            return found[0]
        sign, comma = "+" if found[0].startswith("+") else "", "," if "," in found[0] else ""
        return f"{scale * value:{sign}{comma}.{digits}f}"

    changed = NUMBER.sub(number, text.replace("−", "-"))
    return changed.replace("-", "−") if "−" in text else changed


def numbers_of(text: str) -> list[str]:
    """Returns the numbers of a text as they are written."""
    return NUMBER.findall(text.replace("−", "-"))


def _problem(figure: Figure, text: str, read: Read) -> str:
    if figure.source.startswith("("):
        if figure.source not in REASONS:
            return f"{figure.source} is no reason; give one of {', '.join(REASONS)}"
        block = COMMENT.sub("", text[text.rfind("\n\n", 0, figure.start) : _end_of_block(text, figure.end)])
        if figure.source == f"({NOT_KEPT})" and NOT_KEPT not in " ".join(block.split()):
            return f"{figure.text}: say in the text that there is {NOT_KEPT}"
        return ""
    try:
        expected = values(figure.source, read)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        return f"{figure.text}: {figure.source} cannot be read ({error!r})"
    shown = numbers_of(figure.text)
    if not shown or len(shown) > len(expected):
        return f"{figure.text}: {len(shown)} numbers, but {figure.source} has {len(expected)}"
    scale = 100 if "%" in figure.text else 1
    for number, value in zip(shown, expected, strict=False):
        digits = len(number.partition(".")[2])
        if value is None or abs(float(number.replace(",", "")) - scale * value) > 0.5 * 10**-digits + scale * _ROUNDED:
            return f"{figure.text}: {number} is stated, {figure.source} says {value}"
    return ""


def _of_prose(text: str, start: int, end: int, lines: list[str], comment: int) -> Iterator[Figure]:
    for line in lines:
        comment = text.index(line, comment)
        written, arrow, source = line.partition(" ← ")
        if not arrow:
            raise ValueError(f"{line!r} names no source")
        # As words, because lines of a paragraph may break anywhere.
        words = r"\s+".join(re.escape(word) for word in written.split())
        found = re.compile(rf"(?<![\w.]){words}(?![\w]|\.\d)").search(text, start, end)
        if not found:
            raise ValueError(f"{written!r} does not stand below its comment, or not in this order")
        yield Figure(found.start(), found.end(), found[0], source.strip(), (comment, comment + len(written)))
        start, comment = found.end(), comment + len(line)


def _of_table(text: str, start: int, end: int, lines: list[str]) -> Iterator[Figure]:
    columns = _sources(lines[0])
    rows = list(re.finditer(r"^\|.*\|$", text[start:end], re.MULTILINE))[2:]
    if len(rows) != len(lines) - 1:
        raise ValueError(f"{len(rows)} rows, but {len(lines) - 1} sources below {lines[0]!r}")
    for row, line in zip(rows, lines[1:], strict=True):
        if line.startswith("|"):
            sources = _sources(line)
        elif line.startswith("("):
            sources = [line] * len(columns)
        else:
            sources = [re.sub(r"(^| [&+-] )", rf"\g<1>{line}/", column) if column != "-" else "-" for column in columns]
        cells = list(re.finditer(r"(?<=\|)[^|]*(?=\|)", row[0]))
        if len(cells) != len(sources):
            raise ValueError(f"{len(cells)} cells, but {len(sources)} sources for {row[0]!r}")
        for cell, source in zip(cells, sources, strict=True):
            if source != "-" and numbers_of(cell[0]):
                yield Figure(start + row.start() + cell.start(), start + row.start() + cell.end(), cell[0], source)


def _sources(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _end_of_block(text: str, start: int) -> int:
    end = text.find("\n\n", start)
    return len(text) if end < 0 else end


def _section(text: str, heading: str) -> tuple[int, int]:
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    if not found:
        raise ValueError(f"no section {heading!r}")
    return found.span(1)


def _blanked(text: str, spans: list[tuple[int, int]]) -> str:
    """Returns the text with these spans, comments, code and heads of tables as spaces, every letter where it was."""
    for start, end in (*spans, *(found.span() for found in _NO_CLAIMS.finditer(text))):
        text = text[:start] + " " * (end - start) + text[end:]
    return text
