"""Nothing that was drawn is lost: by a reload, a second model, another series, a wrong press, or an empty label."""

import numpy as np
import pytest
import requests
from tests.server.ohif_page import OhifPage, chromium
from tests.server.served_app import served
from tests.server.viewed_studies import JSON, LESION, write_studies


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    studies = write_studies(tmp_path_factory.mktemp("viewed"))
    with served(studies, conf={"labels": str(tmp_path_factory.mktemp("kept"))}) as (address, _):
        yield address


@pytest.fixture(scope="module")
def page(server):
    with chromium() as browser:
        yield OhifPage(browser, server)


def series_of(server, modality):
    """Returns the series of a modality by their description, and the study of them."""
    found = requests.get(f"{server}/dicom-web/series?Modality={modality}", headers=JSON, timeout=60).json()
    names = {one["0008103E"]["Value"][0]: one["0020000E"]["Value"][0] for one in found}
    return names, found[0]["0020000D"]["Value"][0]


def saved(server, series):
    return requests.get(f"{server}/datastore/label/versions?label={series}", timeout=60).json()


def test_an_empty_label_is_saved_only_where_somebody_says_so(page, server):
    names, study = series_of(server, "US")
    (series,) = names.values()
    page.open_series(study, series)
    page.press("Submit label")
    assert page.told("Outline", kind="error").startswith("Nothing is drawn")
    assert saved(server, series) == []
    page.press("There is nothing here")
    assert "Saved as version 1 of US_1" in page.told("Outline")
    assert [one["voxels"] for one in saved(server, series)] == [{}]


def test_what_is_drawn_by_hand_stays_when_a_model_runs_and_every_step_can_be_undone(page):
    page.draw("Brush", (20, 225), (30, 235))
    drawn = page.labels()
    number = drawn.max()
    assert number
    assert "drew lesion 2 (" in page.run_model(LESION, then="Add beside it")
    both = page.labels()
    np.testing.assert_array_equal(both == number, drawn == number)
    assert (both > 0).sum() > 2 * (drawn > 0).sum()
    # What the model drew is chosen, to be corrected.
    chosen = page.section("Outline").get_by_label("Segment", exact=True)
    assert chosen.evaluate("one => one.selectedOptions[0].text") == "lesion 2"

    page.press("Undo")
    np.testing.assert_array_equal(page.labels(), drawn)
    page.press("Undo")
    assert not page.labels().any()
    page.press("Redo")
    page.press("Redo")
    np.testing.assert_array_equal(page.labels(), both)


def test_leaving_with_strokes_that_are_not_saved_asks_first(page):
    asked = []
    page.tab.once("dialog", lambda dialog: asked.append(dialog.type))
    page.press("Next image", "Next")
    assert "not saved" in page.told("Next", kind="error")
    page.tab.evaluate("() => window.dispatchEvent(new Event('beforeunload', { cancelable: true }))")
    prevented = page.tab.evaluate("() => !window.dispatchEvent(new Event('beforeunload', { cancelable: true }))")
    assert prevented


def test_a_saved_label_comes_back_when_the_series_is_opened_again_and_is_edited(page, server):
    names, study = series_of(server, "US")
    (series,) = names.values()
    page.submit("benign")
    kept = page.labels()
    page.open_series(study, series)
    np.testing.assert_array_equal(page.labels(), kept)
    assert page.section("Outline").get_by_label("Class", exact=True).input_value() == "benign"
    assert "version 2 is saved" in page.section("Outline").inner_text()

    page.draw("Brush", (60, 20), (70, 30))
    assert page.submit("benign")["version"] == 3
    counts = [sum(one["voxels"].values()) for one in saved(server, series)]
    assert counts[0] == 0
    assert counts[1] == (kept > 0).sum() < counts[2] == (page.labels() > 0).sum()
    assert list(saved(server, series)[-1]["labels"]) == ["lesion", "lesion 2"]


def test_a_label_is_saved_to_the_series_that_is_shown(page, server):
    names, study = series_of(server, "MR")
    first, second = names["ax dyn pre"], names["ax dyn post 1"]
    page.open_series(study, first)
    page.draw("Brush", (20, 20), (24, 24))
    before = page.labels()
    page.show_series("ax dyn post 1")
    page.draw("Brush", (40, 40), (44, 44))
    assert page.submit()["image"] == second
    assert "ax dyn post 1" in page.told("Outline")
    assert saved(server, first) == []
    page.show_series("ax dyn pre")
    assert "changes are not saved" in page.section("Outline").inner_text()
    assert page.submit()["image"] == first
    (own,) = saved(server, first)
    assert sum(own["voxels"].values()) == (before > 0).sum()


def test_nothing_failed_in_the_browser(page):
    assert page.failures == []
