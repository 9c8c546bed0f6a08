"""Self-contained HTML pages in one look: a template, figures, and pictures kept inside the file.

Templates lie beside this module and extend ``base.html``. A page needs nothing else: no script, no network, no file.
"""

from __future__ import annotations

import base64
import io
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from breastkit import pictures
from breastkit.atomic import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATES = Path(__file__).parent
RESEARCH_USE = "For research, not for diagnosis."
# Colours of series in figures; apart from each other for people with the common colour-vision deficiencies.
SERIES = ("#3b6ea5", "#c8553d", "#7d8491", "#e0a030", "#4f8a5b", "#8a5a9e")


def render_page(template: str, out: str | Path, **context: Any) -> Path:
    """Writes a page from a template and returns its path.

    Args:
        template: name of the template beside this module, for example ``dataset.html``.
        out: the file to write.
        context: what the template shows; a name it uses and does not get is an error.
    """
    return write_text(out, render(template, **context))


def render(template: str, **context: Any) -> str:
    """Returns a page as text; see `render_page`."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "number": number, "plural": plural}
    return environment.get_template(template).render(research_use=RESEARCH_USE, today=date.today(), **context)


def picture(source: NDArray[Any] | Figure, *, height: int | None = None, lossless: bool = False) -> str:
    """Returns a picture as a data URI, to be the ``src`` of an image.

    Args:
        source: an array, gray or RGB, or a matplotlib figure, which stays a drawing with sharp lines and is closed.
        height: an array is shrunk to at most this many rows.
        lossless: keep an array's every value (PNG) rather than a tenth of the size (JPEG).
    """
    if not isinstance(source, np.ndarray):
        return drawing_uri(source)
    array: NDArray[Any] = pictures.to_rgb(source)
    if height is not None and array.shape[0] > height:
        width = max(round(array.shape[1] * height / array.shape[0]), 1)
        array = cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA)
    kind, options = ("png", []) if lossless else ("jpeg", [cv2.IMWRITE_JPEG_QUALITY, 84])
    _, encoded = cv2.imencode(f".{kind}", array[..., ::-1], options)
    return data_uri(f"image/{kind}", encoded.tobytes())


def figure(width: float = 7.0, height: float = 3.2) -> tuple[Figure, Any]:
    """Returns a matplotlib figure with one pair of axes in the look of the pages, not tied to any window."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width, height), layout="constrained")
    axes = drawing.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_prop_cycle(color=SERIES)
    axes.grid(axis="y", color="#e3e6ea", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, length=3)
    return drawing, axes


def percent(share: float, digits: int = 0) -> str:
    """Writes a share as per cent, small ones not as zero."""
    if 0 < share < 0.5 * 10 ** (-digits - 2):
        return "<" + percent(10 ** (-digits - 2), digits)
    return f"{100 * share:.{digits}f}\u202f%"


def number(value: float, digits: int = 0) -> str:
    """Writes a number with its thousands apart."""
    return f"{value:,.{digits}f}".replace(",", "\u202f")


def plural(count: int, word: str, more: str | None = None) -> str:
    """Writes a count with its noun: ``1 image``, ``2 images``."""
    return f"{number(count)} {word if count == 1 else more or word + 's'}"


def drawing_uri(source: Figure) -> str:
    """Returns a matplotlib figure as a data URI; it is closed."""
    from matplotlib import rc_context

    stream = io.BytesIO()
    # Without a date, and with names that do not come from chance, the same figure gives the same bytes.
    with rc_context({"svg.hashsalt": "breastkit"}):
        source.savefig(stream, format="svg", metadata={"Date": None}, facecolor="none")
    source.clear()
    return data_uri("image/svg+xml", stream.getvalue())


def data_uri(kind: str, data: bytes) -> str:
    """Returns a file as the ``src`` of an image.

    Args:
        kind: its media type.
        data: its content.
    """
    return Markup(f"data:{kind};base64,{base64.b64encode(data).decode()}")
