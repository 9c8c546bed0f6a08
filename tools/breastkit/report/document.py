"""What a report says, once for every form it takes: `render_html` makes a page of it, `breastkit.report.pdf` a PDF."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from breastkit import pictures
from breastkit.report.page import data_uri, drawing_uri, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_QUALITY = 86


@dataclass(frozen=True)
class Picture:
    """A picture, kept as JPEG.

    Attributes:
        data: the file's content.
        size: width and height in pixels.
        alt: what it shows, for those who cannot see it.
        caption: below it; empty for none.
    """

    data: bytes
    size: tuple[int, int]
    alt: str
    caption: str = ""

    @classmethod
    def of(cls, array: NDArray[Any], alt: str, caption: str = "", *, height: int | None = None) -> Picture:
        """Makes one of an array, gray or RGB, shrunk to at most so many rows."""
        array = pictures.to_rgb(array)
        if height is not None and array.shape[0] > height:
            width = max(round(array.shape[1] * height / array.shape[0]), 1)
            array = cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
        # Thin lines keep their colour only where that is stored for every pixel.
        options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
        _, encoded = cv2.imencode(".jpg", array[..., ::-1], options)
        return cls(encoded.tobytes(), (array.shape[1], array.shape[0]), alt, caption)

    @property
    def uri(self) -> str:
        """The picture as the ``src`` of an image."""
        return data_uri("image/jpeg", self.data)


@dataclass(frozen=True)
class Card:
    """A figure with what it says.

    Attributes:
        value: the figure.
        label: what it is of.
        warn: whether it is a warning.
    """

    value: str
    label: str
    warn: bool = False


@dataclass(frozen=True)
class Text:
    """A paragraph, pale where it explains and does not tell."""

    text: str
    soft: bool = False
    block: str = field(default="text", init=False)


@dataclass(frozen=True)
class Warnings:
    """Sentences that must not be missed."""

    sentences: Sequence[str]
    title: str = ""
    block: str = field(default="warnings", init=False)


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows.

    Attributes:
        columns: their titles.
        rows: cells as text.
        caption: above it.
        texts: how many of the first columns hold words and not numbers.
        wide: columns whose text may take several lines.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    texts: int = 1
    wide: Sequence[int] = ()
    block: str = field(default="table", init=False)


@dataclass(frozen=True)
class Bars:
    """Shares from 0 to 1 as bars.

    Attributes:
        rows: name, share and the share as text.
        marks: shares at which a row's bar has a mark, by its name.
        caption: below them.
    """

    rows: Sequence[tuple[str, float, str]]
    marks: dict[str, float] = field(default_factory=dict)
    caption: str = ""
    block: str = field(default="bars", init=False)


@dataclass(frozen=True)
class Row:
    """Pictures side by side, each with its caption."""

    pictures: Sequence[Picture]
    block: str = field(default="row", init=False)


@dataclass(frozen=True)
class Strip:
    """Pictures in rows and columns, each row with a name.

    Attributes:
        rows: name and pictures.
        columns: what stands above the columns.
        caption: below.
    """

    rows: Sequence[tuple[str, Sequence[Picture]]]
    columns: Sequence[str]
    caption: str = ""
    block: str = field(default="strip", init=False)


@dataclass(frozen=True)
class Chart:
    """A drawing, made anew for every form the report takes.

    Attributes:
        draw: returns it.
        alt: what it shows.
        caption: below it.
    """

    draw: Callable[[], Figure]
    alt: str
    caption: str = ""
    block: str = field(default="chart", init=False)

    @property
    def uri(self) -> str:
        """The drawing as the ``src`` of an image, with sharp lines."""
        return drawing_uri(self.draw())

    def png(self, *, dpi: int) -> bytes:
        """Returns the drawing as a picture."""
        stream, drawing = io.BytesIO(), self.draw()
        drawing.savefig(stream, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
        drawing.clear()
        return stream.getvalue()


@dataclass(frozen=True)
class Group:
    """What belongs to one finding.

    Attributes:
        title: of it.
        blocks: in order.
        warn: whether it is not to be relied on.
    """

    title: str
    blocks: Sequence[Block]
    warn: bool = False
    block: str = field(default="group", init=False)


@dataclass(frozen=True)
class Beside:
    """Blocks side by side where there is room."""

    blocks: Sequence[Block]
    block: str = field(default="beside", init=False)


Block = Text | Warnings | Table | Bars | Row | Strip | Chart | Group | Beside


@dataclass(frozen=True)
class Section:
    """A part of a report with its heading."""

    key: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A report.

    Attributes:
        kind: what sort of report it is.
        title: of what.
        lead: what was found, in a sentence or two.
        cards: what was found, in figures.
        warnings: what may be wrong with all of it.
        sections: the rest, the most important first.
    """

    kind: str
    title: str
    lead: str
    cards: Sequence[Card] = ()
    warnings: Warnings | None = None
    sections: Sequence[Section] = ()


def render_html(document: Document) -> str:
    """Returns a report as a page that needs nothing else."""
    return render("document.html", document=document)
