"""Nothing that was drawn is lost: by a reload, a second model, another series, a wrong press, or an empty label."""

import numpy as np
import pytest
import requests
from tests.server.ohif_page import SIDE_BY_SIDE, OhifPage, chromium
from tests.server.served_app import served
from tests.server.viewed_studies import JSON, LESION, write_studies

from breastkit.dicom import list_series, read_series


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    return write_studies(tmp_path_factory.mktemp("viewed"))


@pytest.fixture(scope="module")
def server(studies, tmp_path_factory):
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


def test_two_versions_are_overlaid_with_their_difference(page, server):
    page.section("Outline").get_by_label("Compare", exact=True).select_option("with version 2")
    said = page.told("Outline")
    before, after = (sum(one["voxels"].values()) for one in saved(server, series_of(server, "US")[0].popitem()[1])[1:3])
    assert "Red is in version 2 alone (0 pixels)" in said
    assert f"green is drawn here alone ({after - before} pixels)" in said
    page.section("Outline").get_by_label("Compare", exact=True).select_option("with no version")


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


def test_strokes_that_are_not_saved_are_offered_again_after_a_reload(page, server):
    names, study = series_of(server, "US")
    (series,) = names.values()
    page.open_series(study, series)
    before, versions = page.labels(), len(saved(server, series))
    page.tab.keyboard.press("b")
    page.draw_with_the_mouse((100, 20), (120, 30))
    drawn = page.labels()
    assert (drawn != before).any()
    page.section("Outline").get_by_text("but kept in this browser").wait_for()
    page.tab.reload()
    page.wait_for_image()
    np.testing.assert_array_equal(page.labels(), before)
    page.press("Take them")
    np.testing.assert_array_equal(page.labels(), drawn)
    page.tab.keyboard.press("u")
    np.testing.assert_array_equal(page.labels(), before)
    page.tab.keyboard.press("y")
    page.tab.keyboard.press("s")
    assert f"Saved as version {versions + 1}" in page.told("Outline")
    page.wait_for_drafts(0)


def test_keys_are_listed_and_typing_is_no_key(page):
    page.tab.keyboard.press("?")
    keys = page.tab.get_by_role("dialog", name="Keys")
    assert "Reject the candidate" in keys.inner_text()
    page.tab.keyboard.press("?")
    assert not keys.is_visible()
    page.section("Outline").get_by_label("Size", exact=True).focus()
    page.tab.keyboard.press("?")
    assert not keys.is_visible()


def test_phases_stand_side_by_side_with_their_subtraction(page, server, studies):
    _, study = series_of(server, "MR")
    page.tab.goto(f"{server}/ohif/annotate?StudyInstanceUIDs={study}")
    page.wait_for_image()
    shown = page.side_by_side()
    expected = ["ax dyn pre", "ax dyn post 1", "Subtraction", "ax dyn post 4"]
    assert [one["series"] for one in shown] == expected
    phases = {one.description: read_series(one) for one in list_series(studies / "mri" / "case_001")}
    # What is scrolled in one is scrolled in all; the phases have one window.
    page.use(shown[1]["id"])
    page.show_number(7)
    page.tab.wait_for_function(f"() => ({SIDE_BY_SIDE})().every(one => one.slice === 7)")
    pre, first, subtraction, last = page.side_by_side()
    assert pre["window"] == first["window"] == last["window"] != subtraction["window"]
    page.use(subtraction["id"])
    affine = phases["ax dyn pre"].affine
    slice_ = round((page.height() - affine[2, 3]) / affine[2, 2])
    after, before = (phases[name].array[:, :, slice_].T.astype(float) for name in ("ax dyn post 1", "ax dyn pre"))
    difference = np.clip(after - before, *subtraction["window"])
    assert page.likeness(difference) > 0.9
    assert page.likeness(difference[:, ::-1], patience=0) < page.likeness(after, patience=0) < 0.9
    # The label is that of the phase after contrast, whichever is used.
    assert "ax dyn post 1" in page.section("Outline").inner_text()
    page.tab.keyboard.press("m")
    page.tab.wait_for_function(f"() => ({SIDE_BY_SIDE})().some(one => one.series.endsWith('maximum projection'))")
    page.tab.keyboard.press("m")
    page.tab.wait_for_function(f"() => ({SIDE_BY_SIDE})().every(one => !one.series.endsWith('maximum projection'))")


def test_a_candidate_is_kept_and_that_is_known_the_next_time(page, server):
    names, study = series_of(server, "MR")
    page.open_series(study, names["ax dyn post 1"])
    page.run_model("breast_mri_lesion_detection")
    rows = page.section("Models").get_by_role("list", name="Candidates").get_by_role("listitem")
    assert "score" in rows.first.inner_text() and "mm" in rows.first.inner_text()
    with page.tab.expect_response(lambda answer: "/datastore/candidates" in answer.url):
        page.tab.keyboard.press("k")
    rows.first.get_by_role("button", name="Keep", pressed=True).wait_for()
    answer = requests.get(f"{server}/datastore/candidates?image={names['ax dyn post 1']}", timeout=60).json()
    assert [one["verdict"] for one in answer["candidates"]] == ["keep"]
    page.run_model("breast_mri_lesion_detection")
    rows.first.get_by_role("button", name="Keep", pressed=True).wait_for()
    assert "1 were kept" in page.section("Models").inner_text()


def test_nothing_failed_in_the_browser(page):
    assert page.failures == []
