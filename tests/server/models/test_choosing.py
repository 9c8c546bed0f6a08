"""Which picture comes next, and how good the model is: asked of a real server as viewers ask."""

import json
import shutil
import threading
import time

import cv2
import numpy as np
import pytest
import requests
from tests.server.served_app import served

from breastkit.images import write_nifti, write_png
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.server.models.scored_images import ScoredImages
from breastkit.server.models.scoring import Method, Scoring
from breastkit.server.monailabel_fixes import prepare

prepare()
from monailabel.client import MONAILabelClient  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SIZE = (120, 150)
PATIENCE = 300


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """A volume, pictures, one of them twice, and a broken one."""
    place = tmp_path_factory.mktemp("studies")
    write_nifti(place / "a_volume.nii.gz", np.zeros((4, 5, 6), np.int16), np.eye(4))
    for name, case in (("b", 1), ("c", 2), ("d", 3)):
        write_png(place / f"{name}.png", make_us_phantom(5, case, size=SIZE).image)
    write_png(place / "c_again.png", make_us_phantom(5, 2, size=SIZE).image // 2 + 60)
    (place / "e_broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    return place


@pytest.fixture(scope="module")
def server(studies, tmp_path_factory):
    with served(studies, conf={"labels": str(tmp_path_factory.mktemp("labels"))}) as (address, services):
        yield address, services


@pytest.fixture
def client(server, tmp_path):
    return MONAILabelClient(server[0], tmpdir=str(tmp_path))


def save_label(address, image, mask):
    sent, params = {"label": ("label.png", mask)}, '{"nothing": true}'
    answer = requests.put(f"{address}/datastore/label?image={image}", files=sent, data={"params": params})
    assert answer.status_code == 200, answer.text


def outline(address, image):
    answer = requests.post(
        f"{address}/infer/breast_us_lesion_segmentation?image={image}&output=image",
        data={"params": '{"result_extension": ".png"}'},
    )
    assert answer.status_code == 200, answer.text
    return answer.content


def empty_mask():
    return cv2.imencode(".png", np.zeros(SIZE, np.uint8))[1].tobytes()


def until_done(address):
    deadline = time.monotonic() + PATIENCE
    while (state := requests.get(f"{address}/scoring/").json())["status"] == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return state


def until_scored(scores):
    """Waits until every image has its score and the thread that scores them has ended."""
    deadline = time.monotonic() + PATIENCE
    while scores.waiting() or scores._scoring.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_default_stands_first_and_all_five_are_told_of(client):
    assert list(client.info()["strategies"]) == ["mix", "uncertainty", "diversity", "random", "first"]


def test_a_seed_draws_the_same_image_again(client):
    drawn = [client.next_sample("random", {"seed": seed})["id"] for seed in (1, 1, *range(2, 12))]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1


def test_a_seed_that_is_none_is_refused(server):
    answer = requests.post(f"{server[0]}/activelearning/random", json={"seed": -1})
    assert (answer.status_code, "seed" in answer.json()["detail"]) == (400, True)


def test_while_nothing_is_known_the_first_comes_and_the_background_begins(client, server, monkeypatch):
    begun = []
    for scores in server[1].scores:
        monkeypatch.setattr(scores, "score_in_background", lambda kind=scores.kind: begun.append(kind))
    assert client.next_sample("mix", {})["id"] == "a_volume"
    assert begun == ["pictures", "volumes"]


def test_what_is_known_chooses(client, server):
    scores = server[1].scores[0]
    scores.score_in_background()
    until_scored(scores)
    known = scores.known()
    # What cannot be read has no score, and is not tried again.
    assert set(known) == {"b", "c", "c_again", "d"}
    assert all(0 < one.uncertainty <= 1 and len(one.features) > 8 for one in known.values())
    assert client.next_sample("uncertainty", {})["id"] == max(known, key=lambda name: known[name].uncertainty)
    assert client.next_sample("mix", {})["id"] in known
    assert client.next_sample("first", {})["id"] == "a_volume"


def test_scores_outlast_the_server(server):
    scores = server[1].scores[0]
    again = ScoredImages(scores.images, scores.model, scores.queue, scores.path)
    assert not again.waiting()
    assert {name: one.uncertainty for name, one in again.known().items()} == {
        name: one.uncertainty for name, one in scores.known().items()
    }


def test_scores_of_the_weights_before_serve_until_there_are_as_many_of_the_new(server, monkeypatch, tmp_path):
    scores = server[1].scores[0]
    copied = tmp_path / "scores.sqlite"
    copied.write_bytes(scores.path.read_bytes())
    again = ScoredImages(scores.images, scores.model, scores.queue, copied)
    before = again.known()
    weights = scores.model.version_of_weights()
    monkeypatch.setattr(scores.model, "version_of_weights", lambda: "promoted")
    assert again.known().keys() == before.keys()
    assert len(again.waiting()) == 5
    # As when they are promoted while the last image is scored.
    again.forget_other_weights()
    assert again.known().keys() == before.keys()
    again.score_all()
    assert again.known().keys() == before.keys()
    monkeypatch.setattr(scores.model, "version_of_weights", lambda: weights)
    # Those before are gone.
    assert len(again.waiting()) == 5


def test_near_duplicates_of_what_is_labelled_come_last(client, server):
    save_label(server[0], "c", outline(server[0], "c"))
    for strategy in ("mix", "diversity", "uncertainty"):
        assert client.next_sample(strategy, {})["id"] in ("b", "d")
    for name in ("b", "d"):
        save_label(server[0], name, outline(server[0], name))
    for strategy in ("mix", "diversity", "uncertainty"):
        assert client.next_sample(strategy, {})["id"] == "c_again"


def test_model_and_labels_are_measured_in_the_background_and_told_of(client, server):
    address = server[0]
    assert requests.get(f"{address}/scoring/").status_code == 404
    assert set(client.info()["scoring"]) == {"dice", "uncertainty"}
    assert requests.post(f"{address}/scoring/", json={}).json()["status"] == "RUNNING"
    assert until_done(address)["status"] == "DONE"
    found = client.info()["scoring"]
    # The labels are the model's own outlines.
    assert found["dice"]["pictures"] == {"dice": 1.0, "images": 3}
    assert found["dice"]["volumes"] == {"dice": None, "images": 0}
    unsure = server[1].scores[0].known()["c_again"].uncertainty
    assert found["uncertainty"]["pictures"] == {"uncertainty": unsure, "images": 1}


def test_a_label_that_was_corrected_is_compared_anew_and_the_rest_is_known(client, server, monkeypatch):
    address, services = server
    save_label(address, "b", empty_mask())
    model = services.scores[0].model
    asked, predict = [], model.predict
    monkeypatch.setattr(model, "predict", lambda image, *more: asked.append(image.id) or predict(image, *more))
    assert requests.post(f"{address}/scoring/dice", json={}).status_code == 200
    assert until_done(address)["method"] == "dice"
    assert asked == ["b"]
    assert client.info()["scoring"]["dice"]["pictures"]["dice"] == pytest.approx(2 / 3)
    kept = Scoring(services.store, services.scores, services.scoring.path).results()
    assert kept["dice"]["pictures"]["dice"] == pytest.approx(2 / 3)
    assert json.loads(services.scoring.path.read_text())["dice"]["cases"]["pictures"]["b"] == {
        "version": 2,
        "dice": 0.0,
    }


def test_a_scoring_that_waits_for_its_turn_is_stopped(server, monkeypatch):
    address, services = server
    save_label(address, "d", empty_mask())
    monkeypatch.setattr(services.queue, "waiting", 0)
    begun, may_end = threading.Event(), threading.Event()
    holder = threading.Thread(target=services.queue.run, args=(lambda: (begun.set(), may_end.wait(PATIENCE)),))
    holder.start()
    try:
        assert begun.wait(PATIENCE)
        assert requests.post(f"{address}/scoring/dice", json={}).json()["status"] == "RUNNING"
        assert requests.delete(f"{address}/scoring/").json()["status"] == "STOPPED"
    finally:
        may_end.set()
        holder.join()
    assert requests.get(f"{address}/scoring/").json()["status"] == "STOPPED"
    assert requests.get(f"{address}/scoring/?check_if_running=true").status_code == 404


def test_a_scoring_that_is_stopped_before_it_has_begun_is_no_longer_said_to_run(server, monkeypatch):
    scoring = server[1].scoring
    begin = scoring._next
    monkeypatch.setattr(scoring, "_next", lambda: begin() if scoring._stopping.wait(PATIENCE) else None)
    assert scoring.start(Method.DICE)["status"] == "RUNNING"
    assert scoring.stop()["status"] == "STOPPED"


def test_methods_that_are_none_are_refused(server):
    assert requests.post(f"{server[0]}/scoring/accuracy", json={}).status_code == 422


def test_the_start_page_tells_of_labels(server):
    page = requests.get(f"{server[0]}/").text
    assert "3 of 6" in page
    assert ">segmentation</td>" in page
    assert "Dice of the model against labels of pictures" in page
    assert "Mean uncertainty of pictures without a label" in page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; 'apt-get install chromium' brings it")
def test_the_start_page_measures_at_a_press(server):
    from playwright.sync_api import sync_playwright

    address, services = server
    services.scoring.path.unlink()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=1000 * PATIENCE)
        page = browser.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(f"{address}/")
        page.get_by_role("button", name="Measure model and labels").press("Enter")
        page.get_by_text("Mean uncertainty of pictures without a label").wait_for()
        browser.close()
    assert set(services.scoring.results()) == {"dice", "uncertainty"}
