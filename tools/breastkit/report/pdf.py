"""A report as PDF, A4, to be printed and to be stored beside the images.

ReportLab draws it: it is pure Python, and with the fonts that come with matplotlib nothing has to be installed on the
system. The same report gives the same bytes on the same day.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import date
from functools import lru_cache, singledispatch
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from reportlab import rl_config
from reportlab.graphics.shapes import Drawing, Line, Rect
from reportlab.lib.colors import HexColor, white
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, CondPageBreak, Frame, Image, KeepTogether, PageTemplate, Spacer
from reportlab.platypus import Paragraph as Lines
from reportlab.platypus import Table as Cells

from breastkit.report.document import (
    Bars,
    Beside,
    Block,
    Card,
    Chart,
    Document,
    Group,
    Picture,
    Row,
    Strip,
    Table,
    Text,
    Warnings,
)
from breastkit.report.page import RESEARCH_USE, SERIES

# Pictures as they are: written as text (base 85) they would be a quarter larger and take most of the time.
rl_config.useA85 = 0

# What ReportLab lays out one below the other; the library has no types.
Flow = list[Any]

_FONT, _BOLD = "DejaVuSans", "DejaVuSans-Bold"
_MARGIN, _FOOT = 16 * mm, 15 * mm
_WIDTH = A4[0] - 2 * _MARGIN
_GAP = 2.5 * mm
_HIGHEST_PICTURE = 80 * mm
_DPI = 200
# The colours of the pages.
_INK, _SOFT, _LINE, _PALE = HexColor("#1d2733"), HexColor("#5b6776"), HexColor("#dfe4ea"), HexColor("#f6f7f9")
_WARN, _WARN_GROUND, _WARN_LINE = HexColor("#9a5b00"), HexColor("#fff6e5"), HexColor("#ecd3a2")
_ACCENT = HexColor(SERIES[0])


def render_pdf(document: Document) -> bytes:
    """Returns a report as the content of a PDF file."""
    _register_fonts()
    stream = io.BytesIO()
    template = BaseDocTemplate(
        stream,
        pagesize=A4,
        title=document.title,
        subject=document.kind,
        author="breastkit",
        creator="breastkit",
        lang="en",
        invariant=1,
        pageCompression=1,
    )
    frame = Frame(_MARGIN, _FOOT, _WIDTH, A4[1] - _MARGIN - _FOOT, leftPadding=0, rightPadding=0, topPadding=0)
    template.addPageTemplates([PageTemplate(frames=[frame])])
    template.build(list(_story(document)), canvasmaker=_numbered(document.title))
    return stream.getvalue()


@lru_cache(maxsize=1)
def _register_fonts() -> None:
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for name in (_FONT, _BOLD):
        pdfmetrics.registerFont(TTFont(name, folder / f"{name}.ttf"))
    pdfmetrics.registerFontFamily(_FONT, normal=_FONT, bold=_BOLD, italic=_FONT, boldItalic=_BOLD)


def _style(size: float, *, colour: Any = _INK, bold: bool = False, above: float = 0, below: float = 0) -> Any:
    return ParagraphStyle(
        "",
        fontName=_BOLD if bold else _FONT,
        fontSize=size,
        leading=1.38 * size,
        textColor=colour,
        spaceBefore=above,
        spaceAfter=below,
    )


def _lines(text: str, size: float = 8.5, **options: Any) -> Any:
    return Lines(escape(text), _style(size, **options))


def _story(document: Document) -> Iterator[Any]:
    yield _lines(document.kind, 8, colour=_SOFT)
    yield _lines(document.title, 17, bold=True, below=4)
    yield _lines(document.lead, 9.5, below=3)
    yield _lines(RESEARCH_USE, 8.5, colour=_WARN, bold=True, below=7)
    if document.warnings is not None:
        yield from _flow(document.warnings, _WIDTH)
    if document.cards:
        yield from _cards(document.cards)
    for section in document.sections:
        yield CondPageBreak(70 * mm)
        heading = _lines(section.title, 12, bold=True, above=11, below=5)
        first, *rest = section.blocks
        # Were each kept together alone, the heading could stay behind on the page before.
        if isinstance(first, Group):
            yield KeepTogether([heading, *_parts(first)])
        else:
            yield from [heading, *_flow(first, _WIDTH)]
        for block in rest:
            yield from _flow(block, _WIDTH)


def _cards(cards: Sequence[Card]) -> Flow:
    """Returns figures with what they say, in one line."""
    width = (_WIDTH - (len(cards) - 1) * _GAP) / len(cards)
    row: list[Any] = []
    widths: list[float] = []
    styles: list[Any] = list(_PLAIN)
    for number, card in enumerate(cards):
        if number:
            row.append("")
            widths.append(_GAP)
        place = (len(row), 0), (len(row), 0)
        ground, line = (_WARN_GROUND, _WARN_LINE) if card.warn else (_PALE, _LINE)
        styles += [("BACKGROUND", *place, ground), ("BOX", *place, 0.6, line)]
        value = _lines(card.value, 13, bold=True, colour=_WARN if card.warn else _INK)
        row.append([value, _lines(card.label, 7, colour=_SOFT)])
        widths.append(width)
    padding = [(f"{side}PADDING", (0, 0), (-1, -1), 5) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")]
    return [Cells([row], widths, style=[*styles, *padding]), Spacer(0, 6)]


_PLAIN = (
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    *((f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")),
)


@singledispatch
def _flow(block: Block, width: float) -> Flow:
    """Returns what ReportLab lays out for a block of some width."""
    raise TypeError(f"no form for {type(block).__name__}")


@_flow.register
def _(block: Text, width: float) -> Flow:
    return [_lines(block.text, 7.5 if block.soft else 8.5, colour=_SOFT if block.soft else _INK, below=5)]


@_flow.register
def _(block: Warnings, width: float) -> Flow:
    if not block.sentences:
        return []
    lines = [_lines(block.title, 8.5, bold=True, colour=_WARN)] if block.title else []
    lines += [_lines(f"• {sentence}", 8.5, colour=_WARN) for sentence in block.sentences]
    # A row a sentence, so that many of them go on over the page.
    style = [("BACKGROUND", (0, 0), (-1, -1), _WARN_GROUND), ("BOX", (0, 0), (-1, -1), 0.8, _WARN_LINE)]
    style += [("TOPPADDING", (0, 0), (-1, -1), 3), ("BOTTOMPADDING", (0, 0), (-1, -1), 3)]
    return [Cells([[line] for line in lines], [width], style=style), Spacer(0, 6)]


@_flow.register
def _(block: Table, width: float) -> Flow:
    for size in (7.8, 7.2, 6.6, 6.0):
        natural = [_natural(block, number, size) for number in range(len(block.columns))]
        if sum(natural) <= width:
            break
    widths = [width / sum(natural) * each for each in natural]
    rows = [[_lines(title, size, colour=_SOFT, bold=True) for title in block.columns]]
    rows += [[_lines(cell, size, bold=not number) for number, cell in enumerate(row)] for row in block.rows]
    for row in rows:
        for cell in row[block.texts :]:
            cell.style.alignment = 2
        for number in block.wide:
            row[number].style.alignment = 0
    style = [("LINEBELOW", (0, 0), (-1, -1), 0.5, _LINE), ("VALIGN", (0, 0), (-1, -1), "TOP")]
    style += [("TOPPADDING", (0, 0), (-1, -1), 2.2), ("BOTTOMPADDING", (0, 0), (-1, -1), 2.8)]
    style += [("LEFTPADDING", (0, 0), (-1, -1), 3), ("RIGHTPADDING", (0, 0), (-1, -1), 3)]
    caption = [_lines(block.caption, 7.5, colour=_SOFT, below=2)] if block.caption else []
    return [*caption, Cells(rows, widths, repeatRows=1, style=style), Spacer(0, 6)]


def _natural(block: Table, number: int, size: float) -> float:
    """Returns the width that a column would take in one line, a wide one no more than a third of the page."""
    cells = [block.columns[number], *(row[number] for row in block.rows)]
    longest = max(float(pdfmetrics.stringWidth(cell, _BOLD, size)) for cell in cells) + 7
    return min(longest, _WIDTH / 3) if number in block.wide or not number else longest


@_flow.register
def _(block: Bars, width: float) -> Flow:
    room = min(width * 0.5, 70 * mm)
    rows = []
    for name, share, text in block.rows:
        bar = Drawing(room, 8)
        bar.add(Rect(0, 1.5, room, 5, fillColor=_LINE, strokeColor=None))
        bar.add(Rect(0, 1.5, max(room * share, 0.1), 5, fillColor=_ACCENT, strokeColor=None))
        if name in block.marks:
            place = room * block.marks[name]
            bar.add(Line(place, 0, place, 8, strokeColor=_WARN, strokeWidth=1.2))
        rows.append([_lines(name, 8), _lines(text, 8, bold=True), bar])
    style = [("VALIGN", (0, 0), (-1, -1), "MIDDLE"), *_PLAIN[1:], ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5)]
    names, figures = 34 * mm, 18 * mm
    table = Cells(rows, [names, figures, width - names - figures], style=style, hAlign="LEFT")
    return [table, *_caption(block.caption)]


@_flow.register
def _(block: Row, width: float) -> Flow:
    across = max(len(block.pictures), 2)
    room = (width - (across - 1) * _GAP) / across
    cells = [[_image(each, room - 1, _HIGHEST_PICTURE), *_caption(each.caption)] for each in block.pictures]
    return [_side_by_side(cells, room), Spacer(0, 4)]


@_flow.register
def _(block: Strip, width: float) -> Flow:
    names = 19 * mm
    room = (width - names) / max(len(block.columns), 3)
    rows: list[list[Any]] = [["", *(_lines(title, 6.8, colour=_SOFT) for title in block.columns)]]
    rows += [[_lines(name, 7.2, bold=True), *(_image(each, room - 2, room) for each in shown)] for name, shown in
             block.rows]  # fmt: skip
    style = [*_PLAIN[1:], ("VALIGN", (0, 0), (-1, -1), "MIDDLE"), ("BOTTOMPADDING", (0, 0), (-1, -1), 2)]
    table = Cells(rows, [names, *([room] * len(block.columns))], style=style, hAlign="LEFT")
    return [table, *_caption(block.caption)]


@_flow.register
def _(block: Chart, width: float) -> Flow:
    stream = io.BytesIO(block.png(dpi=_DPI))
    drawing = Image(stream)
    scale = width / drawing.imageWidth
    drawing.drawWidth, drawing.drawHeight = width, scale * drawing.imageHeight
    return [drawing, *_caption(block.caption)]


@_flow.register
def _(block: Group, width: float) -> Flow:
    return [KeepTogether(_parts(block, width))]


def _parts(block: Group, width: float = _WIDTH) -> Flow:
    parts: Flow = [_lines(block.title, 10, bold=True, colour=_WARN if block.warn else _INK, above=7, below=3)]
    for each in block.blocks:
        parts += _flow(each, width)
    return parts


@_flow.register
def _(block: Beside, width: float) -> Flow:
    room = (width - (len(block.blocks) - 1) * _GAP) / len(block.blocks)
    return [_side_by_side([_flow(each, room) for each in block.blocks], room), Spacer(0, 4)]


def _side_by_side(cells: Sequence[Flow], room: float) -> Any:
    row: list[Any] = []
    widths: list[float] = []
    for cell in cells:
        if row:
            row.append("")
            widths.append(_GAP)
        row.append(cell)
        widths.append(room)
    return Cells([row], widths, style=list(_PLAIN), hAlign="LEFT")


def _image(shown: Picture, width: float, height: float) -> Any:
    scale = min(width / shown.size[0], height / shown.size[1])
    return Image(io.BytesIO(shown.data), shown.size[0] * scale, shown.size[1] * scale, hAlign="LEFT")


def _caption(text: str) -> Flow:
    return [_lines(text, 7.2, colour=_SOFT, above=2, below=4)] if text else []


def _numbered(title: str) -> type[Canvas]:
    """Returns a canvas that writes at the foot of every page which of how many it is."""

    class Numbered(Canvas):  # type: ignore[misc]  # the library has no types
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._pages, start=1):
                self.__dict__.update(page)
                _draw_foot(self, title, f"Page {number} of {len(self._pages)}")
                super().showPage()
            super().save()

    return Numbered


def _draw_foot(canvas: Any, title: str, page: str) -> None:
    canvas.setStrokeColor(_LINE)
    canvas.setFillColor(white)
    canvas.line(_MARGIN, _FOOT - 2 * mm, A4[0] - _MARGIN, _FOOT - 2 * mm)
    canvas.setFont(_FONT, 6.8)
    canvas.setFillColor(_SOFT)
    shown = title if len(title) <= 60 else f"{title[:59]}…"
    canvas.drawString(_MARGIN, _FOOT - 6 * mm, f"{shown} · made by breastkit on {date.today()} · {RESEARCH_USE}")
    canvas.drawRightString(A4[0] - _MARGIN, _FOOT - 6 * mm, page)
