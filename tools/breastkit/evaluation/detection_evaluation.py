"""The evaluation of the lesion detector: boxes of slices, lesions of patients, and pictures of what was missed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pandas as pd
from ignite.engine import Engine
from numpy.typing import NDArray

from breastkit.atomic import atomic_path, make_folder, write_text
from breastkit.cases import CaseList
from breastkit.detection import LesionSlices, average_precision, compared, find_candidates, match_boxes, pick_boxes
from breastkit.detection.average_precision import OVERLAPS
from breastkit.detection.candidates import Candidate
from breastkit.evaluation.evaluation_report import EvaluationReport
from breastkit.images import read_mask, write_png
from breastkit.metrics import Interval, share_interval
from breastkit.metrics.froc import (
    RATES,
    CaseFindings,
    found_by_size,
    froc_curve,
    sensitivity_at,
    sensitivity_interval,
)
from breastkit.pictures import PREDICTION, TRUTH, grid, outline
from breastkit.transforms.letterbox import Letterbox

# A candidate hits a lesion from this overlap of their three-dimensional boxes on.
_HIT = 0.1
_LOWEST = 0.01
_SIZES_MM = (10.0, 20.0)
_RATE_OF_SIZES = 1.0
_RESAMPLES = 500


class DetectionEvaluation(EvaluationReport):
    """Handler that measures boxes slice by slice and candidates patient by patient, and writes what came out.

    In the folder: ``metrics.csv`` (a row a patient), ``lesions.csv`` (a row a lesion: its size and the score it was
    found with), ``froc.csv`` and ``froc.png``, ``summary.json`` and ``index.html`` with the patients that were served
    worst first. The figures: average precision of boxes at an overlap of 0.5 and from 0.5 to 0.95; sensitivity at false
    candidates a patient, with 95 % intervals over patients, and by size. A candidate hits a lesion where their boxes
    overlap by 0.1 in 3D.

    Args:
        folder: the folder to write to.
        dataset: what is evaluated; all slices of a patient are needed for its candidates.
        cases: the case list, which knows the voxels' size.
        threshold: score from which candidates count in the table of patients.
        facts: what was evaluated: bundle, architecture, split, threshold, case_list_hash…
    """

    labels: ClassVar[dict[str, str]] = {
        "lesions": "lesions",
        "found": "found",
        "false_candidates": "false candidates",
        "box_map50": "average precision",
    }
    unit = "patient"
    looking = (
        "front at the top, the patient's right on the left; the slice with the largest lesion or the best candidate"
    )

    def __init__(
        self,
        folder: str | Path,
        *,
        dataset: LesionSlices,
        cases: CaseList,
        threshold: float,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(folder, facts=facts)
        self.dataset, self.cases, self.threshold = dataset, cases, float(threshold)

    def start(self, engine: Engine) -> None:
        """Makes the folder, before hours of work."""
        make_folder(self.folder)
        self._outputs: dict[int, dict[int, NDArray[Any]]] = defaultdict(dict)
        self._truths: dict[int, dict[int, NDArray[Any]]] = defaultdict(dict)

    def measure(self, engine: Engine) -> None:
        """Keeps what the detector gave for the slices of a batch: boxes that are not faint."""
        # ignite's types take batch and output for numbers.
        state: Any = engine.state
        batch, output = state.batch, state.output
        for case, number, each, padded in zip(
            batch["case"].tolist(),
            batch["slice"].tolist(),
            output["pred"].float().cpu().numpy(),
            output["label"].cpu().numpy(),
            strict=True,
        ):
            self._outputs[case][number] = each[:, each[4] >= _LOWEST]
            self._truths[case][number] = padded[(padded[:, 2:] > padded[:, :2]).all(1)]

    def finish(self, engine: Engine) -> None:
        """Writes tables, curve, summary and page, and tells the engine the figures."""
        names = self.dataset.names
        findings, rows, lesion_rows, boxes_of_cases = [], [], [], []
        for case in sorted(self._outputs):
            boxes = self._boxes_of(case)
            boxes_of_cases.append(boxes)
            lesions = self._lesions_of(case)
            candidates = self._candidates_of(case)
            found = _compared(lesions, candidates)
            findings.append(found)
            rows.append(self._row(names[case], found, boxes))
            lesion_rows += [
                {"case": names[case], "diameter_mm": size, "score": score}
                for size, score in zip(found.sizes, found.lesions, strict=True)
            ]
            self._draw(case, names[case], lesions, candidates)
        table = pd.DataFrame(rows)
        write_text(self.folder / "metrics.csv", table.round(5).to_csv(index=False))
        columns = ["case", "diameter_mm", "score"]
        write_text(self.folder / "lesions.csv", pd.DataFrame(lesion_rows, columns=columns).round(4).to_csv(index=False))
        self._write_figures(engine, table, findings, _precision_intervals(boxes_of_cases))

    def _write_figures(
        self, engine: Engine, table: pd.DataFrame, findings: list[CaseFindings], precisions: tuple[Interval, Interval]
    ) -> None:
        curve = froc_curve(findings)
        froc = pd.DataFrame(dict(zip(("score", "false_candidates_per_case", "sensitivity"), curve, strict=True)))
        write_text(self.folder / "froc.csv", froc.round(5).to_csv(index=False))
        rates = {rate: sensitivity_interval(findings, rate) for rate in RATES}
        self._draw_curve(curve, rates)
        sizes = found_by_size(findings, _SIZES_MM, rate=_RATE_OF_SIZES)
        map50, map50_95 = precisions
        self._write_summary(
            {
                "patients": len(findings),
                "lesions": sum(len(case.lesions) for case in findings),
                "box_map50": map50,
                "box_map50_95": map50_95,
                "sensitivity_at_false_candidates_per_case": {f"{rate:g}": value for rate, value in rates.items()},
                "found_by_diameter_mm_at_1_false_candidate_per_case": [
                    {"from": low, "to": high if np.isfinite(high) else None, "found": found, "lesions": count}
                    for low, high, found, count in sizes
                ],
            }
        )
        engine.state.metrics.update({"box_map50": map50.value, "box_map50_95": map50_95.value})
        engine.state.metrics["sensitivity_at_1"] = sensitivity_at(findings, 1.0)
        means = {f"Sensitivity at {rate:g} false candidates a patient": value for rate, value in rates.items()}
        means |= {
            "Average precision of boxes, overlap 0.5": map50,
            "Average precision of boxes, overlap 0.5 to 0.95": map50_95,
        }
        for low, high, found, count in sizes:
            upper = f"to {high:g}" if np.isfinite(high) else "and more"
            name = f"Lesions of {low:g} {upper} mm found at 1 false candidate a patient ({found} of {count})"
            means[name] = share_interval(found, count)
        headline = [name for name in means if " at 1 false candidates" in name or name.endswith("overlap 0.5")]
        worst_first = table.assign(missed=table["lesions"] - table["found"]).sort_values(
            ["missed", "false_candidates"], ascending=False, kind="stable"
        )
        worst_first = worst_first.astype(dict.fromkeys(("lesions", "found", "false_candidates"), str))
        self._write_page(worst_first, means, name="case", columns=self.labels, headline=headline)

    def _row(self, name: str, found: CaseFindings, boxes: tuple[NDArray[Any], NDArray[Any], int]) -> dict[str, Any]:
        return {
            "case": name,
            "lesions": len(found.lesions),
            "found": int(sum(score >= self.threshold for score in found.lesions)),
            "false_candidates": int(sum(score >= self.threshold for score in found.false_scores)),
            "best_true_score": max((score for score in found.lesions if np.isfinite(score)), default=float("nan")),
            "best_false_score": max(found.false_scores, default=float("nan")),
            "box_map50": average_precision(boxes[0], boxes[1][:, 0], boxes[2]),
        }

    def _boxes_of(self, case: int) -> tuple[NDArray[Any], NDArray[Any], int]:
        """Returns the scores of a patient's boxes, which of them are right at each overlap, and how many there are."""
        scores, hits, truths = [np.zeros(0)], [np.zeros((0, len(OVERLAPS)), bool)], 0
        for number, output in self._outputs[case].items():
            found, truth = pick_boxes(output, lowest=_LOWEST), self._truths[case][number]
            scores.append(found[:, 4])
            hits.append(match_boxes(found, truth))
            truths += len(truth)
        return np.concatenate(scores), np.concatenate(hits), truths

    def _candidates_of(self, case: int) -> list[Candidate]:
        numbers = range(max(self._outputs[case]) + 1)
        empty = np.zeros((5, 0), np.float32)
        return find_candidates([self._outputs[case].get(number, empty) for number in numbers], lowest=2 * _LOWEST)

    def _lesions_of(self, case: int) -> list[tuple[tuple[float, ...], float]]:
        """Returns the boxes of a patient's true lesions, z0 y0 x0 z1 y1 x1, and their longest side in millimetres."""
        items = {item["slice"]: item for item in self.dataset.data if item["case"] == self.dataset.names[case]}
        scan = self.cases.facts.get("scans", {}).get(self.dataset.names[case])
        if all("label" in item for item in items.values()):
            boxes = _mask_boxes(items)
        else:
            boxes = _linked_boxes({number: item["boxes"] for number, item in items.items()})
        millimetres = _millimetres(scan, next(iter(items.values())))
        result = []
        for box in boxes:
            sides = (np.array(box[3:]) - np.array(box[:3])) * millimetres
            result.append((box, float(sides.max())))
        return self._in_pixels(result)

    def _in_pixels(self, lesions: list[tuple[tuple[float, ...], float]]) -> list[tuple[tuple[float, ...], float]]:
        """Brings boxes from the prepared pictures' pixels to those of the squares the detector saw."""
        first = self.dataset.data[0]
        prepared = max(cv2.imread(first["image"]).shape[:2])
        scale = self.dataset[0]["image"].shape[-1] / prepared
        factors = np.array([1, scale, scale] * 2)
        return [(tuple(float(v) for v in np.array(box) * factors), size) for box, size in lesions]

    def _draw(
        self, case: int, name: str, lesions: list[tuple[tuple[float, ...], float]], candidates: list[Candidate]
    ) -> None:
        """Draws the slice through the middle of the largest lesion and of the best candidates."""
        shown = [(box[0] + box[3]) / 2 for box, _ in sorted(lesions, key=lambda each: -each[1])[:1]]
        shown += [(each.edges[0] + each.edges[3]) / 2 for each in candidates[:2]]
        numbers = {int(item["slice"]): place for place, item in enumerate(self.dataset.data) if item["case"] == name}
        tiles = []
        for middle in shown or [float(np.median(list(numbers)))]:
            number = min(numbers, key=lambda each: abs(each - int(middle)))
            picture = (self.dataset[numbers[number]]["image"].numpy().transpose(1, 2, 0) * 255).astype(np.uint8)
            true = [box for box, _ in lesions if box[0] <= number < box[3]]
            believed = [c.edges for c in candidates if c.score >= self.threshold]
            picture = _framed(picture[..., 1], true, TRUTH)
            tiles.append(_framed(picture, [b for b in believed if b[0] <= number < b[3]], PREDICTION))
        write_png(self.picture_of(name), grid([tiles], tile=320))

    def _draw_curve(
        self, curve: tuple[NDArray[Any], NDArray[Any], NDArray[Any]], rates: Mapping[float, Interval]
    ) -> None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.5, 4), layout="constrained")
        axes = figure.subplots()
        axes.step(np.append(0, curve[1]), np.append(0, curve[2]), where="post")
        low = [value.value - value.low for value in rates.values()]
        high = [value.high - value.value for value in rates.values()]
        values = [value.value for value in rates.values()]
        axes.errorbar(list(rates), values, yerr=np.nan_to_num([low, high]).clip(0), fmt="o", color="tab:orange")
        axes.set(
            title="FROC", xlabel="false candidates a patient", ylabel="lesions found", ylim=(0, 1.02), xlim=(0, 8.2)
        )
        axes.grid(alpha=0.3)
        with atomic_path(self.folder / "froc.png") as temporary:
            figure.savefig(temporary, dpi=110)


def _precision_intervals(cases: list[tuple[NDArray[Any], NDArray[Any], int]]) -> tuple[Interval, Interval]:
    """Returns average precision at an overlap of 0.5 and over all overlaps, with 95 % intervals over patients."""

    def figures(chosen: Sequence[tuple[NDArray[Any], NDArray[Any], int]]) -> tuple[float, float]:
        score, hit = (np.concatenate([case[part] for case in chosen]) for part in (0, 1))
        truths = sum(case[2] for case in chosen)
        every = [average_precision(score, hit[:, column], truths) for column in range(len(OVERLAPS))]
        return every[0], float(np.mean(every))

    value = figures(cases)
    if len(cases) < 2 or not np.isfinite(value).all():
        return Interval(value[0], np.nan, np.nan), Interval(value[1], np.nan, np.nan)
    draw = np.random.default_rng(0).integers(len(cases), size=(_RESAMPLES, len(cases)))
    low, high = np.nanpercentile([figures([cases[position] for position in row]) for row in draw], (2.5, 97.5), axis=0)
    half, every = (Interval(*each) for each in zip(value, low.tolist(), high.tolist(), strict=True))
    return half, every


def _mask_boxes(items: Mapping[int, Mapping[str, Any]]) -> list[tuple[float, ...]]:
    """Returns the boxes of the connected parts of a patient's masks."""
    import cc3d

    depth = max(items) + 1
    volume = None
    for number, item in items.items():
        if item.get("lesion_px", 1):
            mask = read_mask(item["label"])
            volume = np.zeros((depth, *mask.shape), np.uint8) if volume is None else volume
            volume[number] = mask
    if volume is None:
        return []
    labels = cc3d.connected_components(volume, connectivity=26)
    boxes = cc3d.statistics(labels)
    return [
        tuple(float(edge) for edge in (*(part.start for part in parts), *(part.stop for part in parts)))
        for parts, count in zip(boxes["bounding_boxes"][1:], boxes["voxel_counts"][1:], strict=True)
        if count >= 4
    ]


def _linked_boxes(boxes: Mapping[int, list[list[float]]]) -> list[tuple[float, ...]]:
    """Returns the boxes of lesions of which slices know boxes alone: the same box in a run of slices is one lesion."""
    runs: list[list[float]] = []
    for number in sorted(boxes):
        for x0, y0, x1, y1 in boxes[number]:
            going_on = [run for run in runs if run[3] == number and run[1:3] + run[4:] == [y0, x0, y1, x1]]
            if going_on:
                going_on[0][3] = number + 1
            else:
                runs.append([float(number), y0, x0, number + 1.0, y1, x1])
    return [tuple(run) for run in runs]


def _millimetres(scan: Mapping[str, Any] | None, item: Mapping[str, Any]) -> NDArray[Any]:
    """Returns the size of a slice step and of a prepared picture's pixel; 1 where the case list does not know it."""
    if scan is None:
        return np.ones(3)
    box = Letterbox(**scan["letterbox"])
    shrunk = np.array([1, box.rows / box.scaled[0], box.columns / box.scaled[1]])
    sizes: NDArray[Any] = np.array(scan["spacing"]) * shrunk
    return sizes


def _compared(lesions: list[tuple[tuple[float, ...], float]], candidates: list[Candidate]) -> CaseFindings:
    scores, edges = [each.score for each in candidates], [each.edges for each in candidates]
    return compared(scores, edges, [box for box, _ in lesions], hit=_HIT, sizes=[size for _, size in lesions])


def _framed(picture: NDArray[Any], boxes: list[tuple[float, ...]], colour: tuple[int, int, int]) -> NDArray[Any]:
    for _, y0, x0, _, y1, x1 in boxes:
        frame = np.zeros(picture.shape[:2], np.uint8)
        frame[max(0, int(y0)) : int(np.ceil(y1)), max(0, int(x0)) : int(np.ceil(x1))] = 1
        picture = outline(picture, frame, colour)
    return picture
