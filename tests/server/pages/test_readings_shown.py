"""The start page as an annotator and a reviewer see and use it, in Chromium."""

import numpy as np
import pytest
from tests.server.ohif_page import PATIENCE, chromium
from tests.server.several_people import box, password_of, served_people, write_users


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shown")
    with served_people(write_users(folder / "users.json"), folder, double="1") as people:
        yield people


def page_of(browser, people, who, width=1280):
    tab = browser.new_page(viewport={"width": width, "height": 900})
    tab.set_default_timeout(PATIENCE)
    tab.goto(f"{people.address}/login")
    tab.get_by_label("Name").fill(who)
    tab.get_by_label("Password").fill(password_of(who))
    tab.get_by_role("button", name="Log in").click()
    tab.wait_for_url(f"{people.address}/")
    return tab


def is_too_wide(tab):
    return tab.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


def test_a_label_is_sent_back_corrected_and_approved_on_the_page(people):
    people.next("anna")
    with chromium() as browser:
        anna = page_of(browser, people, "anna", width=390)
        assert "outline it until" in anna.get_by_role("region", name="Yours").first.inner_text()
        assert anna.get_by_role("heading", name="To review").count() == 0
        people.save("anna", "one", box((5, 15)))
        people.save("eva", "one", box((8, 18)))

        rita = page_of(browser, people, "rita")
        rita.get_by_text("one: read by anna, eva").click()
        form = rita.locator("form.review")
        form.get_by_role("button", name="Send back").click()
        form.get_by_text("Say in a remark what is to be corrected.").wait_for()
        form.get_by_label("Whose label").select_option("anna")
        form.get_by_label("Remark").fill("The rim <b>is</b> missing.")
        form.get_by_role("button", name="Send back").click()
        rita.get_by_text("No label waits for a reviewer.").wait_for()

        anna.reload()
        region = anna.get_by_role("region", name="Yours").first
        assert "Sent back by rita: The rim <b>is</b> missing." in region.inner_text()
        assert not is_too_wide(anna)
        people.save("anna", "one", box((8, 18)))
        anna.reload()
        anna.get_by_text("No image waits for you").wait_for()

        rita.reload()
        rita.get_by_text("one: read by anna, eva").click()
        rita.get_by_role("button", name="Approve").click()
        rita.get_by_text("No label waits for a reviewer.").wait_for()
        np.testing.assert_array_equal(people.mask("rita", "one"), box((8, 18)))

        rita.get_by_role("link", name="How far readers agree").click()
        rita.get_by_role("heading", name="Agreement of readers").wait_for()
        row = rita.get_by_role("region", name="Every two readers").first.get_by_role("row").nth(1).inner_text()
        assert row.split()[:4] == ["anna,", "eva", "1", "0.70"]
        rita.set_viewport_size({"width": 390, "height": 900})
        assert not is_too_wide(rita)


def test_who_only_looks_and_who_does_not_log_in_see_nothing_of_it(people):
    assert 'id="yours"' not in people.ask("vera", "GET", "/").text
