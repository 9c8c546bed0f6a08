"""Clicks and a box in OHIF as it runs in a browser: the outline follows them, and is saved like any other label."""

import numpy as np
import pytest
import requests
from tests.server.ohif_page import OhifPage, chromium
from tests.server.served_app import served
from tests.server.viewed_studies import GRAY, LESION, MASK, write_picture

from breastkit.metrics.segmentation import dice
from breastkit.training import next_click

MODEL = f"{LESION}_clicks"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pointed")
    write_picture(folder / "studies" / "us.dcm")
    with served(folder / "studies", conf={"labels": str(folder / "kept")}) as (address, _):
        yield address


@pytest.fixture(scope="module")
def page(server):
    with chromium() as browser:
        page = OhifPage(browser, server)
        page.list_studies("US_1")
        page.open_for_labels("US_1")
        yield page


def outlined(page):
    return page.labels()[0] > 0


def follow(page, click):
    page.point("Add" if click.inside else "Remove", (click.column, click.row))
    return outlined(page)


def test_clicks_a_removing_click_undo_a_box_and_the_saved_label(page, server, tmp_path):
    assert page.section("Point").get_by_label("Model", exact=True).input_value() == MODEL
    first = follow(page, next_click(np.zeros_like(MASK), MASK))
    assert dice(first, MASK) > 0.7
    assert dice(page.overlay("lesion", page.labels()[0]), first) > 0.97

    # On what is missing, wherever the model left it.
    rows, columns = np.nonzero(MASK & ~first) if (MASK & ~first).any() else np.nonzero(MASK)
    second = page.point("Add", (int(columns[0]), int(rows[0])))
    assert "after 2 prompts" in second
    kept = outlined(page)
    # Whatever the network makes of it, a click is followed where it lies.
    middle = next_click(np.zeros_like(kept), kept)
    assert "after 3 prompts" in page.point("Remove", (middle.column, middle.row))
    assert kept[middle.row, middle.column] and not outlined(page)[middle.row, middle.column]

    page.press("Undo click", "Point")
    page.tell("Point", "after 2 prompts")
    np.testing.assert_array_equal(outlined(page), kept)
    for left in (1, 0):
        page.press("Undo click", "Point")
        page.tell("Point", "after 1 prompt;" if left else "All clicks are undone")
    assert not outlined(page).any()

    rows, columns = np.nonzero(MASK)
    # The lesion reaches to the border of the picture, where the viewport ends and no box can begin.
    corner, other = (max(3, int(columns.min())), int(rows.min())), (int(columns.max()), int(rows.max()))
    page.frame(corner, other)
    boxed = outlined(page)
    assert dice(boxed, MASK) > 0.8
    page.press("Clear clicks", "Point")
    page.tell("Point", "the outline stays")
    np.testing.assert_array_equal(outlined(page), boxed)

    answer = page.submit("benign")
    info = requests.get(f"{server}/datastore/label/info?label={answer['image']}").json()
    assert (info["labels"], info["voxels"]) == ({"lesion": 1}, {"1": int(boxed.sum())})
    assert page.failures == []


def test_what_the_server_refuses_is_said_and_the_next_click_is_followed(page):
    before = page.labels()
    page.tab.route(
        "**/infer/**", lambda route: route.fulfill(status=400, json={"detail": "Not here; click elsewhere."})
    )
    page.point("Add", (GRAY.shape[1] // 2, 60), then="Not here; click elsewhere.")
    np.testing.assert_array_equal(page.labels(), before)
    page.tab.unroute("**/infer/**")
    click = next_click(np.zeros_like(MASK), MASK)
    assert "after 1 prompt;" in page.point("Add", (click.column, click.row))
