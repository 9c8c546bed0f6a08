"""OHIF in headless Chromium, as someone with mouse and keyboard uses it, and what is to be seen there."""

import shutil
import time
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

from breastkit.metrics.segmentation import dice

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Two busy cores and WebGL in software.
PATIENCE = 180_000
# Seconds until labels are drawn.
_DRAWN_WITHIN = 60
_ARGUMENTS = [
    "--no-sandbox", "--disable-dev-shm-usage", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
]  # fmt: skip
_VIEWPORT = "cornerstone.getEnabledElements()[0].viewport"


@contextmanager
def chromium():
    """Yields a browser that runs until the block ends; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here; 'apt-get install chromium' brings it")
    playwright = pytest.importorskip("playwright.sync_api", reason="the tests' browser driver is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS, timeout=PATIENCE)
        try:
            yield browser
        finally:
            browser.close()


class OhifPage:
    """A tab with the viewer.

    Args:
        browser: from `chromium`.
        address: of the annotation server, without a slash at its end.
    """

    def __init__(self, browser, address):
        self.address = address
        self.tab = browser.new_page(viewport={"width": 1280, "height": 800})
        self.tab.set_default_timeout(PATIENCE)
        self.failures, self.asked = [], []
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.on("pageerror", lambda error: self.failures.append(str(error)))
        # The one question a browser cannot answer beforehand: leave this study for the next one?
        self.tab.on("dialog", lambda dialog: dialog.accept())

    def list_studies(self):
        """Opens the list and returns the modality of every study by its patient."""
        self.tab.goto(f"{self.address}/ohif/")
        rows = self.tab.locator("tr[data-cy^='studyRow']")
        rows.first.wait_for()
        # In one go: the list may be drawn anew between two questions.
        cells = rows.evaluate_all(
            "rows => rows.map(row => [...row.querySelectorAll('td td')].map(one => one.innerText))"
        )
        return {next(text.strip() for text in row if text.strip()): row for row in cells}

    def open_for_labels(self, patient):
        """Opens a study of the list in the mode MONAI Label and waits for its image."""
        self.tab.get_by_text(patient, exact=True).first.click()
        self.tab.get_by_text("MONAI Label", exact=True).first.click()
        self.wait_for_image()

    def open_for_segments(self, patient):
        """Opens a study of the list in the viewer's own mode Segmentation and waits for its image."""
        self.tab.get_by_text(patient, exact=True).first.click()
        self.tab.get_by_text("Segmentation", exact=True).first.click()
        self.tab.get_by_text("Add Segmentation", exact=True).wait_for()
        self.tab.wait_for_function(_AN_IMAGE_IS_DRAWN)

    def wait_for_image(self):
        """Waits until the panel of the mode MONAI Label is there and an image is drawn."""
        self.tab.locator("#monailabelServerURL").wait_for()
        self.tab.wait_for_function(_AN_IMAGE_IS_DRAWN)

    def connect(self):
        """Presses the arrow beside the server's address."""
        self.tab.locator(".settingsTable button").click()
        self.tab.locator("#breastkitLabelTools").wait_for()

    def run_model(self, model):
        """Runs a model and waits for its labels."""
        self.tab.locator("select[class=selectBox]").first.select_option(model)
        with self.tab.expect_response(lambda answer: "/infer/" in answer.url) as answer:
            self.tab.get_by_role("button", name="Run", exact=True).first.click()
        assert answer.value.status == 200, answer.value.text()
        self.tab.wait_for_function(_SOMETHING_IS_OUTLINED, polling=200)

    def draw(self, tool, corner, other):
        """Draws with Brush or Eraser from one pixel of the image to another."""
        self.tab.get_by_role("button", name=tool, exact=True).click()
        self._drag(corner, other)
        self.tab.get_by_role("button", name=tool, exact=True).click()

    def add_segmentation(self):
        """Makes an empty segmentation of the image, in the mode Segmentation."""
        self.tab.get_by_text("Add Segmentation", exact=True).click()
        self.tab.wait_for_function("() => cornerstoneTools.segmentation.state.getSegmentations().length === 1")
        self.tab.get_by_text("Segment 1", exact=True).wait_for()

    def draw_segment(self, corner, other):
        """Draws with the brush of the mode Segmentation from one pixel of the image to another."""
        self.tab.locator("[data-cy=Brush]").click()
        self._drag(corner, other)

    def export_segmentation(self, description):
        """Exports the segmentation to the store as the mode Segmentation does, and returns what the store answers."""
        chosen = self.tab.get_by_role("combobox").filter(has_text="Segmentation 1")
        chosen.locator("xpath=preceding-sibling::button[@aria-haspopup='menu']").click()
        self.tab.get_by_role("menuitem", name="Export & Download").click()
        self.tab.get_by_role("menuitem", name="Export DICOM SEG").click()
        self.tab.locator("input[data-cy^=input]").fill(description)
        with self.tab.expect_response(lambda answer: answer.request.method == "POST") as answer:
            self.tab.get_by_role("button", name="Save", exact=True).click()
        assert answer.value.status == 200, answer.value.text()
        self.tab.get_by_text(description, exact=True).first.wait_for()
        return answer.value.json()

    def _drag(self, corner, other):
        to_canvas, box = self._to_canvas(), self._canvas().bounding_box()
        (x, y), (u, v) = ((to_canvas @ (*pixel, 1)) + (box["x"], box["y"]) for pixel in (corner, other))
        self.tab.mouse.move(x, y)
        self.tab.mouse.down()
        self.tab.mouse.move(u, v, steps=8)
        self.tab.mouse.up()

    def submit(self, of_class=""):
        """Saves the label and returns what the server answers."""
        self.tab.get_by_label("Class", exact=True).select_option(of_class)
        with self.tab.expect_response(lambda answer: "/datastore/label" in answer.url) as answer:
            self.tab.get_by_role("button", name="Submit label").click()
        self.tab.get_by_text("Label saved, version").first.wait_for()
        return answer.value.json()

    def labels(self):
        """Returns the labels in the viewer, [slice, row, column], from the feet up where they have a place."""
        slices = self.tab.evaluate(_LABELS)
        if all(one["corner"] for one in slices):
            slices.sort(key=lambda one: one["corner"][2])
        return np.stack(
            [np.frombuffer(one["labels"].encode("latin-1"), np.uint8).reshape(one["rows"], -1) for one in slices]
        )

    def heights(self):
        """Returns where the slices of the image lie (z), from the feet up."""
        found = self.tab.evaluate(
            f"() => {_VIEWPORT}.getImageIds().map("
            "id => cornerstone.metaData.get('imagePlaneModule', id).imagePositionPatient[2])"
        )
        return sorted(found)

    def show_slice(self, height):
        """Turns to the slice at a height (z) of the patient."""
        number = self.tab.evaluate(
            f"""height => {{
                const place = id => cornerstone.metaData.get('imagePlaneModule', id).imagePositionPatient[2];
                const away = {_VIEWPORT}.getImageIds().map(id => Math.abs(place(id) - height));
                return away.indexOf(Math.min(...away));
            }}""",
            height,
        )
        self.show_number(number)

    def show_number(self, number):
        """Turns to a slice or frame by its number in the order they are shown, from 0."""
        self.tab.evaluate(f"number => {_VIEWPORT}.setImageIdIndex(number)", number)
        self.tab.wait_for_function(f"number => {_VIEWPORT}.getCurrentImageIdIndex() === number", arg=number)

    def overlay(self, segment, labels, *, fit=0.97):
        """Returns which pixels of the image are seen in a segment's colour, [row, column], from a screenshot.

        The browser draws labels some time after they are there, so screenshots are taken until one shows the labels; if
        none does, the last one is returned, for the test to judge.

        Args:
            segment: name of the segment.
            labels: those of the slice that is shown, [row, column].
            fit: the Dice of the two that is to be passed; edges are seen half.
        """
        end = time.monotonic() + _DRAWN_WITHIN
        while dice(seen := self._seen(segment, labels.shape), labels > 0) <= fit and time.monotonic() < end:
            self.tab.wait_for_timeout(200)
        return seen

    def _seen(self, segment, shape):
        colour = self.tab.evaluate(
            f"""name => {{
                const segments = Object.values(cornerstoneTools.segmentation.state.getSegmentation('1').segments);
                const index = segments.find(one => one.label === name).segmentIndex;
                return services.segmentationService.getSegmentColor({_VIEWPORT}.id, '1', index);
            }}""",
            segment,
        )
        taken = np.frombuffer(self._canvas().screenshot(), np.uint8)
        picture = cv2.imdecode(taken, cv2.IMREAD_COLOR)[..., ::-1].astype(float)
        # The images are gray, so that the way from gray to the colour is the segment's alone.
        away, wanted = picture - picture.mean(-1, keepdims=True), np.array(colour[:3]) - np.mean(colour[:3])
        along = away @ wanted / np.linalg.norm(wanted)
        seen = (along > 20) & (along > 0.9 * np.linalg.norm(away, axis=-1))
        size = (shape[1], shape[0])
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(seen.astype(np.uint8), self._to_canvas(), size, flags=flags) > 0

    def _canvas(self):
        return self.tab.locator(".cornerstone-canvas").first

    def _to_canvas(self):
        """Returns how columns and rows of the image become places on the canvas, 2 by 3."""
        points = self.tab.evaluate(
            f"""() => [[0, 0], [1, 0], [0, 1]].map(pixel => {_VIEWPORT}.worldToCanvas(
                cornerstone.utilities.imageToWorldCoords({_VIEWPORT}.getCurrentImageId(), pixel)))"""
        )
        origin, right, down = (np.array(point, float) for point in points)
        return np.column_stack([right - origin, down - origin, origin])


_AN_IMAGE_IS_DRAWN = """() => {
    const all = window.cornerstone ? cornerstone.getEnabledElements() : [];
    return all.length && all[0].viewport.getCurrentImageId && all[0].viewport.getCurrentImageId()
        && all[0].viewport.getImageData();
}"""
# Labels as the viewer holds them, slice by slice; as text, which passes to Python much faster than numbers do.
_LABELS = """() => {
    const map = cornerstoneTools.segmentation.state.getSegmentations()[0].representationData.Labelmap;
    return map.imageIds.map(id => {
        const image = cornerstone.cache.getImage(id);
        const plane = cornerstone.metaData.get('imagePlaneModule', image.referencedImageId) || {};
        return {labels: new TextDecoder('latin1').decode(image.voxelManager.getScalarData()), rows: image.rows,
                corner: plane.imagePositionPatient ? Array.from(plane.imagePositionPatient) : null};
    });
}"""
# Whether a model's answer has arrived in the labels.
_SOMETHING_IS_OUTLINED = """() => {
    const found = window.cornerstoneTools.segmentation.state.getSegmentation('1');
    const images = (found?.representationData?.Labelmap?.imageIds || []).map(id => cornerstone.cache.getImage(id));
    return images.some(one => one?.voxelManager?.getScalarData()?.some(Boolean));
}"""
