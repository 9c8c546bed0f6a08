"""Breast ultrasound pictures through the whole chain: masks, classes, what spoke for them, and one page to look at."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from breastkit.atomic import make_folder, write_json, write_text
from breastkit.bundle import Bundle
from breastkit.errors import BreastkitError
from breastkit.images import write_png
from breastkit.inference.inputs import Inputs
from breastkit.inference.readable_cases import ReadableCases
from breastkit.inference.results import write_problems
from breastkit.inference.ultrasound import CLASSES, LesionClassifier, Reading, UltrasoundReader
from breastkit.inference.ultrasound_inputs import UltrasoundPicture, find_ultrasound, read_ultrasound
from breastkit.pictures import PREDICTION, heat, outline, overlay
from breastkit.pipelines import ULTRASOUND
from breastkit.report.page import picture, render, render_page

OUTPUTS = ("_mask", "_overlay", "_explanation")
COLUMNS = (
    "file", "class", "p_normal", "p_benign", "p_malignant", "uncertainty", "abstain", "lesion_area_px", "mask",
)  # fmt: skip
NO_LESION = "No lesion was outlined, so the class is that of {variant}, the variant that can say normal."
# Pages of more pictures than this would be slow to open; the files of all of them lie beside the page.
_PICTURED = 60
_HEIGHT = 320


def run_ultrasound(
    source: str,
    *,
    out: str,
    explanation: bool = True,
    segmenter: str | None = None,
    classifier: str | None = None,
    normal_classifier: str | None = None,
    backend: str = "auto",
    precision: str = "f32",
) -> Path:
    """Outlines the lesion in breast ultrasound pictures, tells its class, and writes a report.

    Reads PNG, JPEG, TIFF and BMP, and ultrasound DICOM, of which every frame is a picture of its own. For a picture
    x.png: x_mask.png, x_overlay.png, x_explanation.png and x.json; for all of them results.csv and index.html.

    Args:
        source: a picture, or a folder with pictures directly in it.
        out: the folder to write.
        explanation: also draw what spoke for the class (Grad-CAM++).
        segmenter: weights for the outline; those in use by default, here and below.
        classifier: weights that tell benign from malignant.
        normal_classifier: weights that can say normal; those the bundle ships by default.
        backend: torch, openvino or auto.
        precision: f32, bf16 or auto.

    Returns:
        The report's page.

    Raises:
        BreastkitError: if weights are missing, nothing can be written, or, after all others are done, a picture could
            not be read.
    """
    inputs, folder = find_ultrasound(source, outputs=OUTPUTS), Path(out)
    _refuse_folder_of_pictures(folder, inputs)
    reader = UltrasoundReader.of_bundle(
        Bundle(ULTRASOUND),
        segmenter=segmenter,
        classifier=classifier,
        normal_classifier=normal_classifier,
        backend=backend,
        precision=precision,
    )
    # The times told of the pictures are then theirs alone.
    reader.warm_up(explain=explanation)
    make_folder(folder)
    for path, reason in inputs.skipped:
        tqdm.write(f"Left aside: {path.name}: {reason}.", file=sys.stderr)
    pictures = ReadableCases(inputs.items, lambda item: {**item, "picture": read_ultrasound(item)}, unit="picture")
    report = UltrasoundReport(folder, facts=facts_of(reader))
    for item in pictures:
        start = time.perf_counter()
        reading = reader.read(item["picture"].tissue, explain=explanation)
        report.add(item, item["picture"], reading, seconds=time.perf_counter() - start)
    write_problems(folder, inputs, pictures)
    page = report.finish(problems=[sentence for _, sentence in pictures.failures])
    pictures.raise_failures()
    return page


class UltrasoundReport:
    """Writes the files of every picture, the table so far after each, and a page at the end.

    Args:
        folder: where to.
        facts: what read the pictures; see `facts_of`.
    """

    def __init__(self, folder: str | Path, *, facts: Mapping[str, Any]) -> None:
        self.folder, self.facts = Path(folder), dict(facts)
        self._rows: list[dict[str, Any]] = []
        self._shown: list[dict[str, Any]] = []

    def add(self, item: Mapping[str, Any], shown: UltrasoundPicture, reading: Reading, *, seconds: float) -> None:
        """Writes the files of one picture.

        Args:
            item: has ``file`` and ``name``, what its outputs begin with.
            shown: the picture.
            reading: of its tissue.
            seconds: what the reading took.
        """
        mask = shown.on_whole(reading.mask)
        drawn = {"mask": mask * np.uint8(255), "overlay": overlay(shown.gray, mask, PREDICTION)}
        if reading.relevance is not None:
            drawn["explanation"] = _explained(shown.gray, mask, shown.on_whole(reading.relevance))
        files = {kind: f"{item['name']}_{kind}.png" for kind in drawn}
        for kind, array in drawn.items():
            write_png(self.folder / files[kind], array)
        row = table_row(item["file"], reading, mask=files["mask"])
        facts = described(reading, shown) | {"seconds": round(seconds, 3), "files": files, "models": self.facts}
        write_json(self.folder / f"{item['name']}.json", {"file": item["file"], **facts})
        self._rows.append(row)
        write_text(self.folder / "results.csv", pd.DataFrame(self._rows, columns=COLUMNS).to_csv(index=False))
        small = {kind: array for kind, array in drawn.items() if kind != "mask"}
        self._shown.append(_for_page(row, facts["note"], {"picture": shown.gray, **small}))

    def finish(self, *, problems: Sequence[str] = ()) -> Path:
        """Writes the page, the most probably malignant first, and returns its path."""
        shown = sorted(self._shown, key=lambda entry: -entry["row"]["p_malignant"])
        return render_page("ultrasound.html", self.folder / "index.html", **_context(shown, self.facts, problems))


def single_page(name: str, shown: UltrasoundPicture, reading: Reading, facts: Mapping[str, Any]) -> str:
    """Returns the report of one picture as a page in memory; nothing is written."""
    mask = shown.on_whole(reading.mask)
    drawn = {"picture": shown.gray, "overlay": overlay(shown.gray, mask, PREDICTION)}
    if reading.relevance is not None:
        drawn["explanation"] = _explained(shown.gray, mask, shown.on_whole(reading.relevance))
    entry = _for_page(table_row(name, reading, mask=""), described(reading, shown)["note"], drawn)
    return render("ultrasound.html", **_context([entry], facts, []))


def table_row(file: str, reading: Reading, *, mask: str) -> dict[str, Any]:
    """Returns the line of ``results.csv`` of one picture."""
    return {
        "file": file,
        "class": reading.label,
        **{f"p_{name}": value for name, value in rounded(reading.probabilities).items()},
        "uncertainty": round(reading.uncertainty, 4),
        "abstain": int(reading.abstain),
        "lesion_area_px": int(np.count_nonzero(reading.mask)),
        "mask": mask,
    }


def rounded(probabilities: Mapping[str, float], digits: int = 4) -> dict[str, float]:
    """Returns probabilities with few digits that still sum to 1: the largest takes what rounding leaves over."""
    few = {name: round(value, digits) for name, value in probabilities.items()}
    largest = max(few, key=few.__getitem__)
    few[largest] = round(1 - sum(value for name, value in few.items() if name != largest), digits)
    return few


def described(reading: Reading, shown: UltrasoundPicture) -> dict[str, Any]:
    """Returns what a reading says, as JSON holds it; places are those of the whole picture."""
    share = reading.relevance_in_lesion
    top, left = (part.start or 0 for part in shown.window)
    shifts = {"x_min": left, "x_max": left, "y_min": top, "y_max": top}
    measures = {
        key: value + shifts.get(key, 0) if value is not None else None for key, value in reading.measures.items()
    }
    return {
        "class": reading.label,
        "probabilities": rounded(reading.probabilities),
        "uncertainty": round(reading.uncertainty, 4),
        "abstain": reading.abstain,
        "decided_by": reading.decided_by,
        "note": "" if reading.found else NO_LESION.format(variant=reading.decided_by),
        "lesion": measures,
        "relevance_in_lesion": None if share is None else round(share, 4),
        "rows_and_columns": list(shown.gray.shape),
    }


def facts_of(reader: UltrasoundReader) -> dict[str, Any]:
    """Returns which weights read, and by which limits."""
    segmenter = reader.segmenter.bundle.facts
    return {
        "segmenter": {"architecture": segmenter["architecture"], "sha256": segmenter["sha256"][:12]},
        "classifier": _classifier_facts(reader.classifier),
        "normal_classifier": _classifier_facts(reader.normal_classifier),
    }


def _classifier_facts(classifier: LesionClassifier) -> dict[str, Any]:
    return {
        "architecture": classifier.architecture,
        "sha256": classifier.bundle.facts["sha256"][:12],
        "malignant_from": classifier.threshold,
        "abstain_above": classifier.abstain_above,
    }


def _refuse_folder_of_pictures(folder: Path, inputs: Inputs) -> None:
    if folder.resolve() in {Path(item["image"]).parent.resolve() for item in inputs.items}:
        raise BreastkitError(
            f"{folder} holds the pictures themselves, and true masks beside them could be overwritten; name another "
            "folder with --out."
        )


def _explained(gray: NDArray[Any], mask: NDArray[Any], relevance: NDArray[Any]) -> NDArray[Any]:
    return outline(heat(gray, relevance), mask, PREDICTION, width=max(1, round(max(gray.shape) / 400)))


def _for_page(row: dict[str, Any], note: str, drawn: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    # Kept small: a cohort's pictures wait here for the page.
    return {"row": row, "note": note, "pictures": {kind: _shrunk(array) for kind, array in drawn.items()}}


def _shrunk(array: NDArray[Any]) -> str:
    scale = _HEIGHT / array.shape[0]
    if scale < 1:
        size = (max(1, round(array.shape[1] * scale)), _HEIGHT)
        array = cv2.resize(array, size, interpolation=cv2.INTER_AREA)
    return picture(array)


def _context(shown: Sequence[Mapping[str, Any]], facts: Mapping[str, Any], problems: Sequence[str]) -> dict[str, Any]:
    rows = [entry["row"] for entry in shown]
    counts = Counter(row["class"] for row in rows)
    return {
        "title": rows[0]["file"] if len(rows) == 1 else "Breast ultrasound",
        "rows": rows,
        "counts": [(name, counts[name]) for name in CLASSES],
        "abstained": sum(row["abstain"] for row in rows),
        "shown": shown[:_PICTURED],
        "facts": facts,
        "problems": list(problems),
    }
