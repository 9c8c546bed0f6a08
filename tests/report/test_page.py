import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from jinja2 import UndefinedError

from breastkit.report import page
from breastkit.report.page import figure, number, percent, picture, plural, render_page

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Nesting(HTMLParser):
    """Finds tags that are not closed in the order they were opened, and what a page would load from elsewhere."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.outside, self.images_without_text = [], [], [], 0

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("script", "iframe", "object"):
            self.outside.append(tag)
        for name in ("src", "href"):
            if not attributes.get(name, "#").startswith(("#", "data:")):
                self.outside.append(attributes[name])
        self.images_without_text += tag == "img" and not attributes.get("alt")

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def check_page(text):
    """Asserts what holds for every page: well nested, self-contained, pictures with a text, the notice."""
    nesting = Nesting()
    nesting.feed(text)
    assert not nesting.open and not nesting.wrong
    assert not nesting.outside
    assert not nesting.images_without_text
    assert "url(" not in text and "@import" not in text
    assert 'lang="en"' in text and 'name="viewport"' in text
    assert page.RESEARCH_USE in text


@pytest.fixture
def templates(tmp_path, monkeypatch):
    """A folder of templates that holds the base of the real ones and one of the test's own."""
    folder = tmp_path / "templates"
    folder.mkdir()
    for name in ("base.html", "page.css"):
        (folder / name).write_text((page.TEMPLATES / name).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "own.html").write_text(
        '{% extends "base.html" %}{% block title %}{{ name }}{% endblock %}{% block kind %}Test{% endblock %}'
        '{% block content %}<p>{{ count | plural("box", "boxes") }}</p><img src="{{ shown }}" alt="a">{% endblock %}',
        encoding="utf-8",
    )
    monkeypatch.setattr(page, "TEMPLATES", folder)
    return folder


def test_a_page_is_one_file_that_needs_nothing_else(templates, tmp_path):
    shown = picture(np.zeros((4, 5), np.uint8))
    out = render_page("own.html", tmp_path / "sub" / "a page.html", name="<b>Ä & ö</b>", count=1200, shown=shown)
    text = out.read_text(encoding="utf-8")
    check_page(text)
    assert "&lt;b&gt;Ä &amp; ö&lt;/b&gt;" in text and "<b>Ä" not in text
    assert "1\u202f200 boxes" in text
    assert f'src="{shown}"' in text


def test_a_name_a_template_did_not_get_is_an_error_and_leaves_no_file(templates, tmp_path):
    with pytest.raises(UndefinedError, match="name"):
        render_page("own.html", tmp_path / "a.html", count=1, shown="data:,")
    assert not (tmp_path / "a.html").exists()


def decoded(uri):
    kind, data = re.fullmatch(r"data:image/([a-z+]+);base64,(.+)", uri).groups()
    return kind, base64.b64decode(data)


def test_arrays_become_pictures_with_their_colours():
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    kind, data = decoded(picture(colour, lossless=True))
    assert kind == "png"
    assert np.array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1], colour)
    smooth = np.tile(np.linspace(0, 255, 64), (48, 1)).astype(np.uint8)
    kind, data = decoded(picture(smooth))
    assert kind == "jpeg"
    assert np.abs(cv2.imdecode(np.frombuffer(data, np.uint8), 0).astype(int) - smooth).max() < 8


def test_tall_arrays_are_shrunk_and_small_ones_are_not_enlarged():
    for rows, wanted in ((400, (100, 150)), (40, (40, 60))):
        _, data = decoded(picture(np.zeros((rows, rows * 3 // 2), np.uint8), height=100))
        assert cv2.imdecode(np.frombuffer(data, np.uint8), 0).shape == wanted


def test_figures_stay_drawings_and_the_same_figure_gives_the_same_page():
    def draw():
        drawing, axes = figure()
        axes.plot([0, 1], [1, 0], label="a")
        return drawing

    kind, data = decoded(picture(draw()))
    assert kind == "svg+xml" and b"<svg" in data
    assert b"<dc:date>" not in data


def test_numbers_are_written_for_people():
    assert percent(0.1234) == "12\u202f%"
    assert percent(0.1234, 1) == "12.3\u202f%"
    assert percent(0.0002, 1) == "<0.1\u202f%"
    assert percent(0.0) == "0\u202f%"
    assert number(1234567.891, 1) == "1\u202f234\u202f567.9"
    assert plural(1, "image") == "1 image"
    assert plural(0, "image") == "0 images"
