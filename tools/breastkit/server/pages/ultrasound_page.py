"""A page that reads breast ultrasound pictures: upload one, see outline, class and what mattered for it."""

from __future__ import annotations

import base64
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from starlette.middleware import Middleware

from breastkit.bundle import Bundle
from breastkit.errors import BreastkitError
from breastkit.findings.findings_json import model_facts
from breastkit.findings.ultrasound_csv import table_row
from breastkit.findings.ultrasound_png import drawn
from breastkit.findings.ultrasound_report import picture_document
from breastkit.images import stem
from breastkit.inference.calibration import read_calibration
from breastkit.inference.ultrasound import (
    NORMAL,
    LesionClassifier,
    Segmenter,
    UltrasoundReader,
    weights_that_say_normal,
)
from breastkit.inference.ultrasound_inputs import UltrasoundPicture, find_ultrasound, read_ultrasound
from breastkit.logs import get_logger
from breastkit.pictures import PREDICTION, outline
from breastkit.pipelines import ULTRASOUND
from breastkit.pipelines.ultrasound import examine
from breastkit.report.document import render_html
from breastkit.report.page import RESEARCH_USE, picture, render
from breastkit.server.security.access import AccessControl, is_loopback
from breastkit.server.security.free_port import refuse_taken_port
from breastkit.server.security.headers import GRADIO, AnswerHeaders
from breastkit.temporary import remove_abandoned_folders, temporary_folder
from breastkit.weights import read_model_json

# A clip's frames wait in memory, so that nothing of it stays on the disk.
_MOST_FRAMES = 300
_LARGEST_UPLOAD = "500mb"
# Seconds after which a forgotten upload is removed although its tab is still open, and the pictures in memory go.
_FORGOTTEN_AFTER = 3600
_NONE = "none"
_STYLE = Path(__file__).with_suffix(".css")
# What is written into the results is told to screen readers. The upload's button opens by Enter as all buttons do, and
# not by the space bar alone: the input it clicks is inside it, and ignores a click while the key's is under way.
_ACCESSIBLE = """() => {
  document.getElementById('results').setAttribute('aria-live', 'polite');
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && event.target.matches('button.upload-container')) {
      event.preventDefault();
      setTimeout(() => event.target.click(), 50);
    }
  });
}"""
_log = get_logger(__name__)


class Models:
    """The weights of both ultrasound bundles by name, opened when first asked for and then kept.

    Args:
        segmenter: folder or file of weights to offer beside those the bundle ships.
        classifier: likewise, of a variant that tells benign from malignant.
        normal_classifier: weights that can say normal; the bundle's own by default.
        calibration: the file of a calibration; other weights than its own are refused.
        backend: torch, openvino or auto.

    Raises:
        BreastkitError: if there are no weights.
    """

    def __init__(
        self,
        *,
        segmenter: str | Path | None = None,
        classifier: str | Path | None = None,
        normal_classifier: str | Path | None = None,
        calibration: str | Path | None = None,
        backend: str = "auto",
    ) -> None:
        self._calibration = read_calibration(calibration) if calibration else None
        classifies = Bundle(ULTRASOUND)
        outlines = classifies.used("segmenter")
        self.segmenters = weights_of(outlines, segmenter)
        self.classifiers = weights_of(classifies, classifier)
        normal = normal_classifier or weights_that_say_normal(classifies)
        self._normal = LesionClassifier(normal, bundle=classifies, backend=backend)
        self._segmenter = lru_cache(maxsize=4)(
            lambda name: Segmenter(self.segmenters[name], bundle=outlines, backend=backend)
        )
        self._classifier = lru_cache(maxsize=4)(
            lambda name: LesionClassifier(self.classifiers[name], bundle=classifies, backend=backend)
        )

    def reader(self, segmenter: str, classifier: str) -> UltrasoundReader:
        """Returns the chain of two models."""
        networks = (self._segmenter(segmenter), self._classifier(classifier), self._normal)
        return UltrasoundReader(*networks, calibration=self._calibration)


def weights_of(bundle: Bundle, own: str | Path | None = None) -> dict[str, Path]:
    """Returns the weights there are for a bundle by the names people choose them by, the default first.

    Args:
        bundle: which one.
        own: a file or folder of weights, which becomes the default.

    Raises:
        BreastkitError: if there are none.
    """
    # One model of every architecture is enough to choose from; those of the folds only work together.
    paths = [Path(own)] if own is not None else []
    there = (bundle.weights_in_use, bundle.shipped_weights, *bundle.further_weights.values())
    paths += [path for path in dict.fromkeys(there) if path.is_file()]
    if not paths:
        raise BreastkitError(
            f"{bundle.folder / 'models'} holds no weights; train the bundle {bundle.name}, or name weights on the "
            "command line."
        )
    named: dict[str, Path] = {}
    for path in paths:
        architecture = str(read_model_json(path)["architecture"])
        name = architecture if architecture not in named else f"{architecture} ({path.parent.name})"
        named[name] = path
    return named


def serve_ultrasound_page(
    *,
    port: int = 7860,
    host: str = "127.0.0.1",
    segmenter: str | None = None,
    classifier: str | None = None,
    normal_classifier: str | None = None,
    calibration: str | None = None,
    backend: str = "auto",
) -> None:
    """Serves a page that reads breast ultrasound pictures, to this machine's browsers, until Ctrl-C.

    Pictures are read in memory; an upload is removed from the disk as soon as it is read.

    Args:
        port: the page is on this port.
        host: the address to listen on; another than 127.0.0.1 lets other machines see the page. On that one the page
            answers to the names of this machine alone.
        segmenter: weights for the outline, to be the default; those in use without, here and below.
        classifier: weights that tell benign from malignant.
        normal_classifier: weights that can say normal.
        calibration: what 'breastkit calibrate us' fitted to pictures of your own, with these weights.
        backend: torch, openvino or auto.

    Raises:
        BreastkitError: if weights are missing or the port is taken.
    """
    refuse_taken_port(host, port)
    models = Models(
        segmenter=segmenter,
        classifier=classifier,
        normal_classifier=normal_classifier,
        calibration=calibration,
        backend=backend,
    )
    _log.info("Loading the networks.")
    models.reader(next(iter(models.segmenters)), next(iter(models.classifiers))).warm_up()
    # A service manager ends it like a user does, so that uploads are removed then too: from before the page answers.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with private_uploads():
        page = build_page(models)
        try:
            start_page(page, host=host, port=port)
            _log.info("Open http://%s:%d/ in a browser; Ctrl-C ends.", host, port)
            if host != "127.0.0.1":
                _log.warning("Whoever reaches this machine can use the page; there is no password.")
            threading.Event().wait()
        except KeyboardInterrupt:
            _log.info("No longer shown; nothing was kept.")
        finally:
            page.close(verbose=False)


@contextmanager
def private_uploads() -> Iterator[Path]:
    """Lets the page put uploads into a folder only this user can read, which is removed at the end."""
    before = os.environ.get("GRADIO_TEMP_DIR")
    remove_abandoned_folders()
    with temporary_folder("page") as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        try:
            yield folder
        finally:
            if before is None:
                del os.environ["GRADIO_TEMP_DIR"]
            else:
                os.environ["GRADIO_TEMP_DIR"] = before


def start_page(page: Any, *, host: str, port: int) -> None:
    """Starts to serve a page, a `gradio.Blocks`, and returns."""
    guards = [Middleware(AnswerHeaders, pages=GRADIO)]
    if is_loopback(host):
        # As of the annotation server without users: no page of the internet reaches it through a name of its own.
        guards.append(Middleware(AccessControl))
    page.launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        footer_links=[],
        ssr_mode=False,
        enable_monitoring=False,
        max_file_size=_LARGEST_UPLOAD,
        theme=_theme(),
        css_paths=[_STYLE],
        app_kwargs={"middleware": guards},
    )


def build_page(models: Models) -> Any:
    """Returns the page, a `gradio.Blocks`."""
    gradio = _gradio()
    segmenters, classifiers = list(models.segmenters), list(models.classifiers)
    with gradio.Blocks(title="Breast ultrasound", analytics_enabled=False, delete_cache=(60, _FORGOTTEN_AFTER)) as page:
        gradio.HTML(
            "<h1>Breast ultrasound</h1>"
            "<p>Outlines the lesion in a picture, tells its class and shows what mattered for it.</p>"
            f"<p class='bk-notice'>{RESEARCH_USE} Pictures stay on this computer and are not kept.</p>"
        )
        upload = gradio.File(label="Picture (PNG, JPEG, TIFF, BMP, DICOM)", type="filepath", height=170)
        with gradio.Row():
            first = (
                gradio.Dropdown(segmenters, value=segmenters[0], label="Outline by", min_width=240),
                gradio.Dropdown(classifiers, value=classifiers[0], label="Class by", min_width=240),
            )
        with gradio.Row():
            second = (
                gradio.Dropdown([_NONE, *segmenters], value=_NONE, label="Compare with: outline by", min_width=240),
                gradio.Dropdown(classifiers, value=classifiers[-1], label="Compare with: class by", min_width=240),
            )
        frame = gradio.Slider(1, 2, value=1, step=1, label="Frame of the clip", visible=False)
        frames = gradio.State([], time_to_live=_FORGOTTEN_AFTER)
        results = gradio.HTML("<p>Choose a picture or drop one above.</p>", elem_id="results")

        def show(kept: list[Any], number: float, *names: str) -> Any:
            if not kept:
                return gradio.skip()
            return readings_html(models, kept[0], kept[min(int(number), len(kept) - 1)], names)

        chosen = [frames, frame, *first, *second]
        # One after the other, in the order they were asked for: what an earlier reading says never comes after, and in
        # place of, what is said of a newer file.
        in_turn = {"api_name": False, "concurrency_id": "reading", "concurrency_limit": 1}
        # A picture that comes while the one before is still being read is taken, and read after it.
        taken = upload.upload(
            _take(gradio), upload, [upload, frames, frame, results], trigger_mode="multiple", **in_turn
        )
        taken.then(show, chosen, results, trigger_mode="always_last", **in_turn)
        gradio.on(
            [each.input for each in (frame, *first, *second)],
            show,
            chosen,
            results,
            # Of the many values a slider passes on its way only the last is read.
            trigger_mode="always_last",
            **in_turn,
        )
        page.load(fn=None, js=_ACCESSIBLE)
    return page


def _take(gradio: Any) -> Any:
    """Returns what happens to an upload: its frames go into memory, the file goes."""

    def take(path: str | None) -> tuple[Any, ...]:
        hidden = gradio.Slider(visible=False, value=1)
        if path is None:
            return None, [], hidden, ""
        try:
            pictures = read_upload(Path(path))
        except BreastkitError as error:
            return None, [], hidden, f"<p class='bk-problem' role='alert'>{escape(str(error))}</p>"
        clip = gradio.Slider(1, max(2, len(pictures)), value=1, step=1, visible=len(pictures) > 1)
        return None, [Path(path).name, *pictures], clip, f"<p role='status'>Reading {escape(Path(path).name)} …</p>"

    return take


def read_upload(path: Path) -> list[UltrasoundPicture]:
    """Reads the frames of an upload into memory and removes the file.

    Raises:
        BreastkitError: if it cannot be read; the sentence names the file as the user knows it.
    """
    try:
        items = find_ultrasound(path).items
        if len(items) > _MOST_FRAMES:
            raise BreastkitError(
                f"{path} has {len(items)} frames, more than the {_MOST_FRAMES} this page takes; "
                "use 'breastkit run us' for it."
            )
        return [read_ultrasound(item) for item in items]
    except BreastkitError as error:
        raise BreastkitError(
            str(error).replace(str(path.resolve()), path.name).replace(str(path), path.name)
        ) from error
    finally:
        path.unlink(missing_ok=True)


def readings_html(models: Models, file: str, shown: UltrasoundPicture, names: tuple[str, ...]) -> str:
    """Returns what one or two chains of models say of a picture, side by side.

    Args:
        models: to choose from.
        file: name of the picture.
        shown: the picture.
        names: segmenter and classifier, and those to compare with; ``none`` as the second segmenter compares nothing.
    """
    chains = [names[:2]] + ([names[2:]] if names[2] != _NONE else [])
    try:
        parts = [reading_html(models.reader(*chain), file, shown, " and ".join(chain)) for chain in chains]
    except BreastkitError as error:
        return f"<p class='bk-problem' role='alert'>{escape(str(error))}</p>"
    return f"<div class='bk-results'>{''.join(parts)}</div>"


def reading_html(reader: UltrasoundReader, file: str, shown: UltrasoundPicture, models: str) -> str:
    """Returns what a chain says of a picture, its pictures and downloads inside, so that no file is needed."""
    findings = examine(shown, reader, name=stem(file), file=file, source=Path(file))
    reading, mask = findings.reading, findings.mask
    decider = reader.classifier if reading.found and reading.label != NORMAL else reader.normal_classifier
    facts = model_facts(findings.models)
    limits = facts.get("calibration", facts["classifier" if reading.found else "normal_classifier"])
    line = max(1, round(max(mask.shape) / 400))
    return render(
        "reading.html",
        file=file,
        stem=stem(file),
        models=models,
        row=table_row(findings),
        note=" ".join(findings.doubts),
        probabilities=list(reading.probabilities.items()),
        limits=limits,
        abstain_above=limits["abstain_above"] if reader.calibration else decider.abstain_above,
        calibration=reader.calibration.sha256[:12] if reader.calibration else None,
        share=reading.relevance_in_lesion,
        picture=picture(shown.gray),
        outlined=picture(outline(shown.gray, mask, PREDICTION, width=line)),
        tint=_tint(mask),
        explained=picture(drawn(findings)["explanation"]),
        mask=_png(mask * np.uint8(255)),
        report=_data_link("text/html", render_html(picture_document(findings)).encode()),
    )


def _tint(mask: NDArray[Any]) -> str:
    """Returns the mask as a picture that is clear outside it."""
    blue_first = np.zeros((*mask.shape, 4), np.uint8)
    blue_first[mask] = (*PREDICTION[::-1], 255)
    return _png(blue_first)


def _png(array: NDArray[Any]) -> str:
    return _data_link("image/png", cv2.imencode(".png", array)[1].tobytes())


def _data_link(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _gradio() -> Any:
    """Imports Gradio with its reports to its makers off."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio

    return gradio


def _theme() -> Any:
    # Fonts of the system: nothing is fetched, and the page looks like the user's other programs.
    return _gradio().themes.Default(
        font=["system-ui", "Segoe UI", "Roboto", "Arial", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )
