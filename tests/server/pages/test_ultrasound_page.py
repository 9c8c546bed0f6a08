"""The ultrasound page, in a real browser: upload, look at pictures and numbers, compare, download; bad files."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.apps.server_process import free_port
from tests.inference.ultrasound_weights import classifier_weights, segmenter_weights

from breastkit.bundle import Bundle
from breastkit.dicom.write_us import write_us_dicom
from breastkit.errors import BreastkitError
from breastkit.images import write_png
from breastkit.server.pages import ultrasound_page
from breastkit.server.pages.ultrasound_page import read_upload, serve_ultrasound_page, weights_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 180_000
GRAY = np.random.default_rng(0).integers(0, 256, (60, 100), dtype=np.uint8)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The page of `breastkit page` in a process of its own, and the folder its temporary files go to."""
    folder, port = tmp_path_factory.mktemp("page"), free_port()
    classifier = classifier_weights(folder / "fusion", (0.2, 0.8), variant="fusion", threshold=0.55)
    normal = classifier_weights(folder / "aware", (0.25, 0.45, 0.3), variant="mask_aware", threshold=0.35)
    segmenter = segmenter_weights(folder / "all", everything=True)
    (folder / "tmp").mkdir()
    words = ["page", "--port", str(port), "--segmenter", str(segmenter), "--classifier", str(classifier)]
    process = subprocess.Popen(
        [sys.executable, "-m", "breastkit.cli", *words, "--normal-classifier", str(normal), "--backend", "torch"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder / "tmp")},
    )
    address = f"http://127.0.0.1:{port}/"
    deadline = time.monotonic() + 300
    while True:
        try:
            urllib.request.urlopen(address, timeout=30)
            break
        except OSError:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.5)
    yield address, folder / "tmp"
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert "nothing was kept" in said
    assert not list((folder / "tmp").glob("breastkit-temporary-page-*"))


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium here; 'apt-get install chromium' brings it")
    playwright = pytest.importorskip("playwright.sync_api", reason="the tests' browser driver is not installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def tab(browser):
    """One tab for all tests, every address it asks for noted: opening the page is most of their work."""
    tab = browser.new_page()
    tab.set_default_timeout(PATIENCE)
    tab.asked = []
    tab.on("request", lambda request: tab.asked.append(request.url))
    tab.said = []
    tab.on("console", lambda message: tab.said.append(message.text))
    yield tab
    tab.close()


def opened(tab, served, width=1280):
    tab.set_viewport_size({"width": width, "height": 900})
    tab.goto(served[0])
    tab.get_by_text("Choose a picture or drop one above.").wait_for()
    return tab


@pytest.fixture
def page(tab, served):
    """The page in the tab, as an earlier test left it: people read one picture after another."""
    return tab if tab.url == served[0] else opened(tab, served)


@pytest.fixture
def png(tmp_path):
    return write_png(tmp_path / "benign (1).png", GRAY)


def upload(tab, path):
    """Uploads a file and waits for what is said of it, not of the one before, and for its pictures."""
    tab.evaluate("document.querySelectorAll('#results *').forEach(part => part.setAttribute('data-before', ''))")
    tab.set_input_files("input[type=file]", str(path))
    tab.locator(":is(.bk-reading, .bk-problem):not([data-before])").first.wait_for()
    tab.wait_for_function("[...document.querySelectorAll('.bk-reading img')].every(image => image.complete)")


def compare_with(tab, name):
    tab.get_by_label("Compare with: outline by").click()
    tab.get_by_role("option", name=name).click()


def numbers(tab):
    rows = tab.locator(".bk-reading").first.locator("table tr").all()
    texts = [row.locator("th, td.bk-figure").all_inner_texts() for row in rows]
    return {name: value.replace("\u202f", " ") for name, value in texts}


def test_an_upload_gives_pictures_and_numbers(page, png, served):
    upload(page, png)
    assert page.locator(".bk-verdict strong").inner_text() == "malignant"
    found = numbers(page)
    assert found["normal"] == "25.0 %"
    assert found["benign"] == "15.0 %"
    assert found["malignant"] == "60.0 %"
    assert found["uncertainty"] == "0.72"
    images = page.locator(".bk-reading img").all()
    assert len(images) == 5
    for image in images:
        assert image.evaluate("image => image.complete && image.naturalWidth") == 100
    # The upload itself is gone from the disk although the tab is open.
    kept = [path for path in served[1].rglob("*") if path.is_file() and path.stat().st_size == png.stat().st_size]
    assert not kept


def test_mask_and_report_can_be_downloaded(page, png):
    upload(page, png)
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download the mask").click()
    assert waiting.value.suggested_filename == "benign (1)_mask.png"
    mask = cv2.imread(str(waiting.value.path()), cv2.IMREAD_UNCHANGED)
    assert mask.shape == GRAY.shape
    assert (mask == 255).all()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download the report").click()
    text = waiting.value.path().read_text()
    assert "benign (1).png" in text
    assert "For research, not for diagnosis." in text


def test_the_slider_fades_the_overlay(page, png):
    upload(page, png)
    slider = page.get_by_label("Opacity of the mask")
    assert page.locator(".bk-tint").evaluate("image => getComputedStyle(image).opacity") == "0.5"
    slider.focus()
    page.keyboard.press("Home")
    assert page.locator(".bk-tint").evaluate("image => getComputedStyle(image).opacity") == "0"
    page.keyboard.press("End")
    assert page.locator(".bk-tint").evaluate("image => getComputedStyle(image).opacity") == "1"


def test_two_models_side_by_side_and_one_again(page, png):
    upload(page, png)

    compare_with(page, "light")
    page.locator(".bk-reading").nth(1).wait_for()
    left, right = (page.locator(".bk-reading").nth(n).bounding_box() for n in (0, 1))
    assert right["x"] >= left["x"] + left["width"]
    assert abs(right["y"] - left["y"]) < 2
    compare_with(page, "none")
    page.locator(".bk-reading").nth(1).wait_for(state="detached")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("cut.png", None, "cut.png is damaged or not a picture"),
        ("notes.txt", b"no picture", "notes.txt is no image of a kind this bundle reads"),
        ("empty.dcm", b"", "empty.dcm is not a DICOM file although it is named so"),
    ],
)
def test_a_bad_file_gives_a_readable_message_and_the_next_one_works(page, png, tmp_path, name, data, words):
    path = tmp_path / name
    path.write_bytes(png.read_bytes()[:200] if data is None else data)
    upload(page, path)
    told = page.get_by_role("alert").inner_text()
    assert told.startswith(words)
    assert "/" not in told.replace("copy/", "")
    page.set_input_files("input[type=file]", str(png))
    page.locator(".bk-reading").wait_for()


def test_a_picture_that_comes_while_another_is_read_is_read_too(page, tmp_path):
    first, second = (write_png(tmp_path / name, GRAY) for name in ("first.png", "second.png"))
    page.set_input_files("input[type=file]", str(first))
    page.locator("#results", has_text="first.png").wait_for()
    page.set_input_files("input[type=file]", str(second))
    page.locator(".bk-reading", has_text="second.png").wait_for()


def test_what_is_said_of_a_newer_file_stays_when_a_reading_asked_for_before_ends(page, png, tmp_path):
    upload(page, png)
    cut = tmp_path / "cut.png"
    cut.write_bytes(png.read_bytes()[:200])
    compare_with(page, "light")
    page.set_input_files("input[type=file]", str(cut))
    page.get_by_role("alert").wait_for()
    page.wait_for_timeout(3000)
    assert page.get_by_role("alert").inner_text().startswith("cut.png is damaged")
    compare_with(page, "none")


def test_the_frame_of_a_clip_can_be_chosen(page, tmp_path):
    frames = np.stack([GRAY, GRAY[::-1], GRAY[:, ::-1]])
    path = write_us_dicom(tmp_path / "clip.dcm", frames, spacing=0.1, patient="P", uid_seed="0")
    upload(page, path)
    first = page.locator(".bk-reading img").first.get_attribute("src")
    slider = page.get_by_label("range slider for Frame of the clip")
    assert slider.get_attribute("max") == "3"
    slider.focus()
    page.keyboard.press("End")
    page.wait_for_function(
        "before => { const image = document.querySelector('.bk-reading img'); return image && image.src !== before; }",
        arg=first,
    )


def test_nothing_outside_this_machine_is_asked_for(page, png, served):
    upload(page, png)
    assert page.asked
    assert not [url for url in page.asked if not url.startswith((served[0], "data:", "blob:"))]


def test_what_browsers_are_told_keeps_the_page_whole(tab, served, png):
    page = opened(tab, served)
    upload(page, png)
    assert not [said for said in page.said if "Content Security Policy" in said]
    with urllib.request.urlopen(served[0]) as answer:
        headers = answer.headers
    assert "frame-ancestors 'self'" in headers["Content-Security-Policy"]
    assert headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["", "config", "gradio_api/info", "gradio_api/queue/data?session_hash=x"])
def test_a_name_of_the_internet_does_not_lead_to_it(served, path):
    asked = urllib.request.Request(served[0] + path, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked)
    assert refused.value.code == 403
    asked = urllib.request.Request(served[0], headers={"Host": f"localhost:{served[0].split(':')[2].strip('/')}"})
    assert urllib.request.urlopen(asked).status == 200


def test_a_page_of_another_site_uploads_nothing(served):
    headers = {"Origin": "https://evil.example", "Content-Type": "multipart/form-data; boundary=x"}
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nx\r\n--x--\r\n'
    asked = urllib.request.Request(served[0] + "gradio_api/upload", data=body, headers=headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked)
    assert refused.value.code == 403


def test_it_is_usable_by_keyboard_and_named_for_screen_readers(tab, served, png):
    page = opened(tab, served)
    assert page.title() == "Breast ultrasound"
    assert page.locator("html").get_attribute("lang") == "en"
    assert "For research, not for diagnosis." in page.locator("body").inner_text()
    page.locator("#results[aria-live=polite]").wait_for()
    page.keyboard.press("Tab")
    assert "upload" in page.evaluate("document.activeElement.getAttribute('aria-label')")
    with page.expect_file_chooser() as waiting:
        page.keyboard.press("Enter")
    waiting.value.set_files(str(png))
    page.locator(".bk-reading").wait_for()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input:not([type=file]), a, select')].filter(e => e.offsetParent
        && !(e.getAttribute('aria-label') || e.innerText || e.title || (e.labels && e.labels.length))).length"""
    )
    assert nameless == 0
    pictures = page.locator(".bk-reading img:not(.bk-tint)").all()
    assert all("benign (1).png" in picture.get_attribute("alt") for picture in pictures)


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_phones_and_desktops(tab, served, png, width):
    page = opened(tab, served, width)
    upload(page, png)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = [image.bounding_box() for image in page.locator(".bk-reading img").all()]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width and box["width"] > 150 for box in boxes)


def test_it_listens_to_this_machine_alone(served):
    port = int(re.search(r":(\d+)/", served[0]).group(1))
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    listening = {line.split()[1] for line in lines if line.split()[3] == "0A"}
    addresses = {entry.split(":")[0] for entry in listening if int(entry.split(":")[1], 16) == port}
    assert addresses == {"0100007F"}


def test_ended_in_the_moment_it_is_shown_it_leaves_nothing(tmp_path, monkeypatch):
    classifier = classifier_weights(tmp_path / "fusion", (0.2, 0.8), variant="fusion", threshold=0.55)
    normal = classifier_weights(tmp_path / "aware", (0.25, 0.45, 0.3), variant="mask_aware", threshold=0.35)
    weights = {"segmenter": segmenter_weights(tmp_path / "all", everything=True), "classifier": classifier}
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ultrasound_page, "start_page", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("a service manager would have killed it"))
    try:
        serve_ultrasound_page(port=free_port(), **weights, normal_classifier=normal, backend="torch")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not list(tmp_path.glob("breastkit-temporary-page-*"))


def test_a_port_in_use_is_a_sentence_before_anything_is_loaded():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BreastkitError, match=rf"Port {port} .* is in use .* choose another with --port"):
            serve_ultrasound_page(port=port)


def test_an_upload_is_removed_when_it_is_read_or_refused(tmp_path):
    path = write_png(tmp_path / "x.png", GRAY)
    (shown,) = read_upload(path)
    np.testing.assert_array_equal(shown.gray, GRAY)
    assert not path.exists()
    path.write_bytes(b"no picture")
    with pytest.raises(BreastkitError, match=r"^x\.png is damaged"):
        read_upload(path)
    assert not path.exists()


def test_models_are_named_by_their_architecture(tmp_path):
    path = segmenter_weights(tmp_path, everything=True)
    named = weights_of(Bundle("breast_us_lesion_segmentation"), path)
    assert next(iter(named.items())) == ("light", path)
