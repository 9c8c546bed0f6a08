"""OHIF in headless Chromium, as someone with mouse and keyboard uses it, and what is to be seen there."""

import re
import shutil
import time
from contextlib import contextmanager, suppress

import cv2
import numpy as np
import pytest

from breastkit.metrics.segmentation import dice

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Two busy cores and WebGL in software.
PATIENCE = 120_000
# Seconds until labels are drawn.
_DRAWN_WITHIN = 60
_ARGUMENTS = [
    "--no-sandbox", "--disable-dev-shm-usage", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
]  # fmt: skip
# The one that is used; phases stand side by side.
_VIEWPORT = (
    "services.cornerstoneViewportService.getCornerstoneViewport(services.viewportGridService.getActiveViewportId())"
)


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

    def list_studies(self, *patients):
        """Opens the list and returns the cells of every study by its patient."""
        self.tab.goto(f"{self.address}/ohif/")
        self.tab.locator("tbody tr").nth(1).wait_for()
        # They come one after the other.
        for patient in patients:
            self.tab.get_by_role("cell", name=patient, exact=True).first.wait_for()
        # In one go: the list may be drawn anew between two questions.
        rows = self.tab.locator("tbody tr").evaluate_all(
            "rows => rows.map(row => [...row.querySelectorAll('td')].map(cell => cell.innerText.trim()))"
        )
        return {row[0]: row for row in rows if row[0]}

    def open_for_labels(self, patient):
        """Opens a study of the list in our mode and waits for its image."""
        self._open(patient, "Breast annotation")
        self.wait_for_image()

    def open_series(self, study, series):
        """Opens a series in our mode by its address, and waits for its image."""
        self.tab.goto(f"{self.address}/ohif/annotate?StudyInstanceUIDs={study}&initialSeriesInstanceUID={series}")
        self.wait_for_image()

    def show_series(self, description):
        """Shows another series of the study in place of the one that is shown."""
        self.tab.get_by_text(description, exact=True).first.dblclick()
        self.section("Outline").get_by_text(f", {description}: ").wait_for()
        self.wait_for_image()

    def open_study(self, study):
        """Opens a study in the viewer's own plain mode by its address, and waits for its image."""
        self.tab.goto(f"{self.address}/ohif/viewer?StudyInstanceUIDs={study}")
        self.tab.wait_for_function(_AN_IMAGE_IS_DRAWN)

    def show_result(self, description):
        """Shows a series of results, such as a report, in place of what is shown, and waits for its image."""
        self.tab.get_by_text(description).first.dblclick()
        # Where it says what it is there is a badge, SEG or SR, on the image.
        self.tab.wait_for_function(_AN_IMAGE_IS_DRAWN)

    def wait_for_segments(self, count):
        """Waits until the viewer has read so many segments."""
        self.tab.wait_for_function(
            """count => {
                const [all] = cornerstoneTools.segmentation.state.getSegmentations();
                return all && Object.values(all.segments).length === count;
            }""",
            arg=count,
        )

    def height(self):
        """Returns where the slice that is shown lies (z)."""
        return self.tab.evaluate(f"() => {_VIEWPORT}.getCamera().focalPoint[2]")

    def measured_line(self):
        """Waits for the line of a report, and returns its ends as columns and rows of the image."""
        # A second one leads to the words.
        line = self.tab.locator(".svg-layer line").first
        line.wait_for(state="attached")
        x1, y1, x2, y2 = (float(line.get_attribute(name)) for name in ("x1", "y1", "x2", "y2"))
        to_canvas = self._to_canvas()
        return np.array([[x1, y1], [x2, y2]] - to_canvas[:, 2]) @ np.linalg.inv(to_canvas[:, :2]).T

    def on_canvas(self, pixels):
        """Returns where columns and rows of the image lie on the canvas, in whole points."""
        to_canvas = self._to_canvas()
        return [tuple(map(int, np.rint(to_canvas @ (*pixel, 1)))) for pixel in pixels]

    def green(self):
        """Returns which points of the canvas are as green as the viewer draws a measurement that is chosen."""
        place = self._canvas().bounding_box()
        taken = np.frombuffer(self.tab.screenshot(clip=place), np.uint8)
        blue, green, red = cv2.imdecode(taken, cv2.IMREAD_COLOR).astype(int).transpose(2, 0, 1)
        return (green > red + 60) & (green > blue + 60)

    def open_for_segments(self, patient):
        """Opens a study of the list in the viewer's own mode Segmentation and waits for its image."""
        self._open(patient, "Segmentation")
        self.tab.get_by_text("Add segmentation", exact=True).wait_for()
        self.tab.wait_for_function(_AN_IMAGE_IS_DRAWN)

    def _open(self, patient, mode):
        row = self.tab.get_by_role("cell", name=patient, exact=True).first
        opens, end = self.tab.get_by_role("button", name=mode, exact=True), time.monotonic() + PATIENCE / 1000
        # The list is drawn anew when the last of its parts is there, and forgets what was chosen; a second press
        # at once would take the choice back.
        while not opens.is_visible():
            row.click()
            with suppress(Exception):
                opens.wait_for(timeout=min(5000, PATIENCE))
            assert time.monotonic() < end, "the study could not be chosen"
        opens.click()

    def wait_for_image(self):
        """Waits until an image is drawn and its label can be drawn on."""
        self.tab.wait_for_function(_AN_IMAGE_IS_DRAWN)
        self.section("Outline").get_by_text(_OPENED).wait_for()

    def section(self, name):
        """Returns a section of the panel: Models, Outline or Next."""
        return self.tab.get_by_role("region", name=name, exact=True)

    def press(self, button, section="Outline"):
        """Presses a button of the panel."""
        self.section(section).get_by_role("button", name=button, exact=True).click()

    def told(self, section, *, kind="done"):
        """Returns what a section says once it is done, or has failed."""
        place = self.section(section).get_by_role("status").first
        place.and_(self.tab.locator(f"[data-kind={kind}]")).wait_for()
        return place.inner_text()

    def run_model(self, model, *, then=None):
        """Runs a model and returns what is said of its answer.

        Args:
            model: which one.
            then: the answer to what to do with what is drawn already; None where nothing is.
        """
        self.section("Models").get_by_label("Model", exact=True).select_option(model)
        with self.tab.expect_response(lambda answer: "/infer/" in answer.url) as answer:
            self.press("Run", "Models")
        assert answer.value.status == 200, answer.value.text()
        if then is not None:
            self.press(then, "Models")
        return self.told("Models")

    def draw(self, tool, corner, other):
        """Draws with Brush or Eraser from one pixel of the image to another."""
        self.press(tool)
        self.draw_with_the_mouse(corner, other)
        self.press(tool)

    def point(self, tool, pixel, *, then="not saved yet"):
        """Clicks on a pixel of the image with Add or Remove, and returns what is said once that was followed.

        Args:
            tool: which one.
            pixel: column and row.
            then: is said afterwards.
        """
        return self._followed(tool, lambda: self.draw_with_the_mouse(pixel, pixel), then)

    def frame(self, corner, other):
        """Draws a box from one pixel of the image to another, and returns what is said once that was followed."""
        return self._followed("Box", lambda: self.draw_with_the_mouse(corner, other), "not saved yet")

    def _followed(self, tool, act, then):
        self.press(tool, "Point")
        with self.tab.expect_response(lambda answer: "/infer/" in answer.url):
            act()
        self.press(tool, "Point")
        return self.tell("Point", then)

    def tell(self, section, words):
        """Waits until a section says something with these words, and returns all of it."""
        place = self.section(section).get_by_role("status").filter(has_text=words)
        place.wait_for()
        return place.inner_text()

    def add_segmentation(self):
        """Makes an empty segmentation of the image, in the mode Segmentation."""
        self.tab.get_by_text("Add segmentation", exact=True).click()
        self.tab.wait_for_function("() => cornerstoneTools.segmentation.state.getSegmentations().length === 1")
        self.tab.get_by_text("Segment 1", exact=True).wait_for()

    def draw_segment(self, corner, other):
        """Draws with the brush of the mode Segmentation from one pixel of the image to another."""
        self.tab.locator("[data-cy=Brush]").click()
        self.draw_with_the_mouse(corner, other)

    def export_segmentation(self, description):
        """Exports the segmentation to the store as the mode Segmentation does, and returns what the store answers."""
        chosen = self.tab.get_by_role("combobox").filter(has_text="Segmentation 1")
        chosen.locator("xpath=preceding-sibling::button[@aria-haspopup='menu']").click()
        self.tab.get_by_role("menuitem", name="Export", exact=True).click()
        self.tab.get_by_role("menuitem", name="DICOM SEG", exact=True).click()
        self.tab.get_by_placeholder("Report name").fill(description)
        with self.tab.expect_response(lambda answer: answer.request.method == "POST") as answer:
            self.tab.get_by_role("button", name="Save", exact=True).click()
        assert answer.value.status == 200, answer.value.text()
        return answer.value.json()

    def draw_with_the_mouse(self, corner, other):
        """Drags the mouse from one pixel of the image to another."""
        to_canvas, box = self._to_canvas(), self._canvas().bounding_box()
        (x, y), (u, v) = ((to_canvas @ (*pixel, 1)) + (box["x"], box["y"]) for pixel in (corner, other))
        self.tab.mouse.move(x, y)
        self.tab.mouse.down()
        self.tab.mouse.move(u, v, steps=8)
        self.tab.mouse.up()

    def submit(self, of_class=""):
        """Saves the label and returns what the server answers."""
        self.section("Outline").get_by_label("Class", exact=True).select_option(of_class)
        with self.tab.expect_response(
            lambda answer: answer.request.method == "PUT" and "/datastore/label" in answer.url
        ) as answer:
            self.press("Submit label")
        assert "Saved as version" in self.told("Outline")
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
                const [{{segmentationId: id, segments}}] = cornerstoneTools.segmentation.state.getSegmentations();
                const index = Object.values(segments).find(one => one.label === name).segmentIndex;
                return services.segmentationService.getSegmentColor({_VIEWPORT}.id, id, index);
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
        # Looked at in the middle of every pixel.
        middles = self._to_canvas() @ [[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]
        return cv2.warpAffine(seen.astype(np.uint8), middles, size, flags=flags) > 0

    def side_by_side(self):
        """Returns what every viewport shows, in their order: its id, series, slice and window."""
        return self.tab.evaluate(SIDE_BY_SIDE)

    def use(self, viewport):
        """Makes a viewport the one that is used."""
        self.tab.evaluate("id => services.viewportGridService.setActiveViewportId(id)", viewport)

    def likeness(self, values, *, patience=_DRAWN_WITHIN):
        """Returns the correlation of what is seen with values, [row, column], the best of screenshots of some time.

        The middle is looked at: names and directions stand at the edges.
        """
        end, found = time.monotonic() + patience, -1.0
        rows, columns = (slice(size // 4, -size // 4) for size in values.shape)
        while True:
            taken = cv2.imdecode(np.frombuffer(self._canvas().screenshot(), np.uint8), cv2.IMREAD_GRAYSCALE)
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            seen = cv2.warpAffine(taken, self._to_canvas(), values.shape[::-1], flags=flags).astype(float)
            found = max(found, np.corrcoef(seen[rows, columns].ravel(), values[rows, columns].ravel())[0, 1])
            if found > 0.9 or time.monotonic() > end:
                return found
            self.tab.wait_for_timeout(200)

    def wait_for_drafts(self, count):
        """Waits until the browser keeps this many drafts."""
        self.tab.wait_for_function(_DRAFTS_ARE, arg=count)

    def _canvas(self):
        active = self.tab.evaluate("() => services.viewportGridService.getActiveViewportId()")
        return self.tab.locator(f"[data-viewport-uid='{active}'] .cornerstone-canvas")

    def _to_canvas(self):
        """Returns how columns and rows of the image become places on the canvas, 2 by 3."""
        points = self.tab.evaluate(
            f"""() => [[0, 0], [1, 0], [0, 1]].map(pixel => {_VIEWPORT}.worldToCanvas(
                cornerstone.utilities.imageToWorldCoords({_VIEWPORT}.getCurrentImageId(), pixel)))"""
        )
        origin, right, down = (np.array(point, float) for point in points)
        return np.column_stack([right - origin, down - origin, origin])


# What the section Outline says of a label that can be drawn on.
_OPENED = re.compile("is saved|no label yet|are not saved")
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
SIDE_BY_SIDE = """() => [...services.viewportGridService.getState().viewports.values()].map(one => {
    const [uid] = one.displaySetInstanceUIDs;
    const set = services.displaySetService.getDisplaySetByUID(uid);
    const viewport = services.cornerstoneViewportService.getCornerstoneViewport(one.viewportId);
    const {voiRange} = viewport.getProperties();
    return {id: one.viewportId, series: set.SeriesDescription, slice: viewport.getCurrentImageIdIndex(),
            window: voiRange && [voiRange.lower, voiRange.upper]};
})"""
_DRAFTS_ARE = """async wanted => {
    const done = one => new Promise(resolve => { one.onsuccess = () => resolve(one.result); });
    const database = await done(indexedDB.open('breastkit-drafts', 1));
    const count = await done(database.transaction('drafts').objectStore('drafts').count());
    database.close();
    return count === wanted;
}"""
