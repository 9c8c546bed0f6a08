"""What a classifier looked at, over a case list: figures, how much of it lies in the lesion, and a sanity check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from breastkit.atomic import make_folder, write_json, write_text
from breastkit.bundle import Bundle, Role, bundle_for
from breastkit.cases import read_cases
from breastkit.errors import BreastkitError
from breastkit.explain import (
    GradCamPlusPlus,
    StageRelevance,
    last_map_layer,
    map_correlation,
    randomise_from_the_top,
    share_inside,
)
from breastkit.images import read_gray, read_mask, stem, write_png
from breastkit.inference.ultrasound import LesionClassifier
from breastkit.metrics import Interval, bootstrap_interval, grouped_interval, most_probable
from breastkit.metrics.segmentation import bounding_box
from breastkit.pictures import PREDICTION, TRUTH, grid, heat, outline
from breastkit.progress import track
from breastkit.report.page import figure, picture, render_page

COLUMNS = ("image", "case", "class", "predicted", "share_in_lesion", "area_share", "peak_in_lesion")
_TITLES = ["original", "lesion crop", "what mattered"]
# Around the lesion, as a share of its longer side.
_MARGIN = 0.25
_CORRELATIONS = {"correlation": "maps as they are", "correlation_beyond_mean": "maps less the mean map"}
_PICTURED = 24
Method = Literal["stages", "grad-cam++", "layer-cam"]
_STAGES = 6


def explain_cases(
    cases: str,
    *,
    out: str,
    variant: str = "fusion",
    weights: str | None = None,
    split: str = "validation",
    fold: int | None = None,
    sanity_pictures: int = 24,
    method: Method = "stages",
    bundle: str | None = None,
) -> Path:
    """Shows what a classifier of breast ultrasound looked at: a figure of every picture, a table, a sanity check.

    In the folder: figures/ with original, lesion crop and map of every picture; shares.csv, how much of the map
    lies in the true lesion; sanity.csv and sanity.png, how much the maps resemble those of random weights; summary.json
    and index.html.

    Args:
        cases: a folder made by 'breastkit data crossfit'.
        out: the folder to write.
        variant: fusion, image, resnet50, mask_aware, mask_aware_b0 or crop.
        weights: weights of the variant; those the bundle ships by default.
        split: training, validation or test.
        fold: validate on this fold; by default that of the weights.
        sanity_pictures: how many pictures the sanity check looks at.
        method: stages, which everything else shows too; grad-cam++ and layer-cam, of the last layer, to compare with.
        bundle: the classification bundle, by name or folder; by default the one there is.

    Returns:
        The page.

    Raises:
        BreastkitError: if there are no weights or masks, or a picture cannot be read.
    """
    # Gradients need torch anyway: converting the network for the classes alone would take longer than it saves.
    chosen = Bundle(bundle) if bundle else bundle_for(Role.CLASSIFICATION)
    classifier = LesionClassifier(weights or chosen.weights_of(variant), bundle=chosen, backend="torch")
    if classifier.architecture != variant:
        raise BreastkitError(
            f"{classifier.bundle.weights} holds the variant {classifier.architecture}; choose --variant "
            f"{classifier.architecture}, or other weights with --weights."
        )
    trained = classifier.bundle.facts
    fold = trained.get("fold") if fold is None else fold
    read = read_cases(cases)
    items = read.fold_lists(fold)[1] if split == "validation" else read.split(split)
    items = [item for item in items if item.get("class", "") in classifier.classes]
    if not items:
        raise BreastkitError(f"{read.path} has no picture of {', '.join(classifier.classes)} in '{split}'.")
    folder = make_folder(out)
    explained = Explained(classifier, folder, method)
    for item in track(items, "Explaining", unit="picture"):
        explained.add(item)
    unseen = set(trained.get("unseen") or ())
    facts = {
        "variant": variant,
        "weights_sha256": trained["sha256"],
        "split": split,
        "fold": fold,
        "pictures": len(items),
        "pictures_not_trained_on": sum(stem(item["image"]) in unseen for item in items),
        "method": method,
        "layers": explained.layers,
    }
    stages = explained.sanity_check(sanity_pictures)
    return explained.finish(facts, stages)


class Explained:
    """Explains pictures one by one and writes what belongs to all of them at the end.

    Args:
        classifier: whose class is explained.
        folder: where to write.
        method: how.
    """

    def __init__(self, classifier: LesionClassifier, folder: Path, method: Method = "stages") -> None:
        self.classifier, self.folder = classifier, folder
        self.explainer_of = _explainers()[method]
        self.explainer = self.explainer_of(classifier.bundle.network)
        self.layers = self.explainer.layers if isinstance(self.explainer, StageRelevance) else [self.explainer.layer]
        self._needs_mask = classifier.bundle.facts["view"] != {"channels": ["gray"], "margin": None}
        self._rows: list[dict[str, Any]] = []
        self._squares: list[tuple[torch.Tensor, int]] = []

    def add(self, item: Mapping[str, Any]) -> None:
        """Explains one picture and writes its figure.

        Raises:
            BreastkitError: if it cannot be read, or has no mask although the classifier takes one.
        """
        gray = read_gray(item["image"])
        truth = read_mask(item["label"]) > 0 if "label" in item else np.zeros(gray.shape, bool)
        mask = self._mask(item, truth)
        prepared = self.classifier.prepare(gray, mask)
        probabilities, _ = self.classifier.classify(prepared)
        label = most_probable(probabilities)
        relevance = self.classifier.explain(prepared, label, self.explainer)
        name = stem(item["image"])
        write_png(self.figure_of(name), _drawn(gray, truth, mask, relevance))
        self._squares.append((prepared["image"].as_tensor(), self.classifier.classes.index(label)))
        peak = np.unravel_index(int(relevance.argmax()), relevance.shape)
        self._rows.append(
            {
                "image": name,
                "case": str(item.get("case", name)),
                "class": item["class"],
                "predicted": label,
                "share_in_lesion": share_inside(relevance, truth),
                "area_share": float(truth.mean()) if truth.any() else float("nan"),
                "peak_in_lesion": float(truth[peak]) if truth.any() else float("nan"),
            }
        )

    def sanity_check(self, count: int) -> pd.DataFrame:
        """Returns how much the maps of more and more random networks resemble the trained one's.

        Args:
            count: how many pictures, spread over the list.
        """
        chosen = sorted({int(n) for n in np.linspace(0, len(self._squares) - 1, min(count, len(self._squares)))})
        images = torch.stack([self._squares[n][0] for n in chosen])
        own = np.stack([self.explainer(*self._squares[n]) for n in chosen])
        stages = randomise_from_the_top(self.classifier.bundle.network.cpu(), images, stages=_STAGES)
        rows = []
        for stage in track(stages, "Sanity check", total=_STAGES, unit="stage"):
            explain = self.explainer_of(stage.network)
            maps = np.stack([explain(*self._squares[n]) for n in chosen])
            # Maps of any network are alike in part, mostly brighter in the middle; what matters is the rest.
            beyond = own - own.mean(0), maps - maps.mean(0)
            rows += [
                {
                    "image": self._rows[n]["image"],
                    "random_share": round(stage.share, 4),
                    "correlation": map_correlation(own[k], maps[k]),
                    "correlation_beyond_mean": map_correlation(beyond[0][k], beyond[1][k]),
                }
                for k, n in enumerate(chosen)
            ]
        return pd.DataFrame(rows)

    def finish(self, facts: Mapping[str, Any], stages: pd.DataFrame) -> Path:
        """Writes tables, summary and page, and returns the page."""
        table = pd.DataFrame(self._rows, columns=COLUMNS)
        write_text(self.folder / "shares.csv", table.round(5).to_csv(index=False))
        write_text(self.folder / "sanity.csv", stages.round(5).to_csv(index=False))
        lesions = table[table["share_in_lesion"].notna()]
        shares = {
            name: grouped_interval(lesions[name], lesions["case"])
            for name in ("share_in_lesion", "area_share", "peak_in_lesion")
        }
        curve = [
            {"random_share": float(share), **{name: bootstrap_interval(rows[name]) for name in _CORRELATIONS}}
            for share, rows in stages.groupby("random_share")
        ]
        summary = {
            **facts,
            "pictures_with_lesion": len(lesions),
            **{f"mean_{name}": list(interval) for name, interval in shares.items()},
            "correlation_with_random_weights": [
                {name: list(value) if isinstance(value, Interval) else value for name, value in stage.items()}
                for stage in curve
            ],
        }
        write_json(self.folder / "summary.json", _plain(summary))
        drawing = _curve_drawing(curve)
        drawing.savefig(self.folder / "sanity.png", dpi=150)
        return self._write_page(facts, table, shares, curve, drawing)

    def figure_of(self, name: str) -> Path:
        """Returns where the figure of a picture lies."""
        return self.folder / "figures" / f"{name}.png"

    def _mask(self, item: Mapping[str, Any], truth: NDArray[Any]) -> NDArray[Any]:
        if "predicted_mask" in item:
            return read_mask(item["predicted_mask"]) > 0
        if self._needs_mask:
            raise BreastkitError(
                f"{item['image']} has no predicted mask, which the variant {self.classifier.architecture} takes; "
                "make masks with 'breastkit data crossfit'."
            )
        return truth

    def _write_page(
        self,
        facts: Mapping[str, Any],
        table: pd.DataFrame,
        shares: Mapping[str, Interval],
        curve: Sequence[Mapping[str, Any]],
        drawing: Any,
    ) -> Path:
        import cv2

        # Where the map is least in the lesion there is most to learn.
        shown = table.sort_values("share_in_lesion", kind="stable").to_dict("records")[:_PICTURED]
        return render_page(
            "explanation.html",
            self.folder / "index.html",
            facts=facts,
            lesions=int(table["share_in_lesion"].notna().sum()),
            shares=shares,
            curve=curve,
            drawing=picture(drawing),
            shown=[
                {
                    **row,
                    "picture": picture(cv2.imread(str(self.figure_of(row["image"])), cv2.IMREAD_COLOR_RGB)),
                }
                for row in shown
            ],
        )


def _explainers() -> dict[Method, Callable[[nn.Module], GradCamPlusPlus | StageRelevance]]:
    return {
        "stages": StageRelevance,
        "grad-cam++": GradCamPlusPlus,
        "layer-cam": lambda network: StageRelevance(network, layers=[last_map_layer(network)], against=False),
    }


def _drawn(gray: NDArray[Any], truth: NDArray[Any], mask: NDArray[Any], relevance: NDArray[Any]) -> NDArray[Any]:
    """Returns original, lesion crop and map side by side, the true and the predicted outline on them."""
    width = max(1, round(max(gray.shape) / 300))
    outlined = outline(outline(gray, truth, TRUTH, width=width), mask, PREDICTION, width=width)
    crop = _around(truth if truth.any() else mask)
    explained = outline(outline(heat(gray, relevance), truth, TRUTH, width=width), mask, PREDICTION, width=width)
    return grid([[gray, outlined[crop], explained]], tile=400, column_titles=_TITLES)


def _around(mask: NDArray[Any]) -> tuple[slice, slice]:
    """Returns the rows and columns around a mask; all of them where it is empty."""
    if not mask.any():
        return slice(None), slice(None)
    parts = bounding_box(mask)
    margin = round(_MARGIN * max(part.stop - part.start for part in parts))
    rows, columns = (
        slice(max(0, part.start - margin), min(size, part.stop + margin))
        for part, size in zip(parts, mask.shape, strict=True)
    )
    return rows, columns


def _curve_drawing(curve: Sequence[Mapping[str, Any]]) -> Any:
    drawing, axes = figure()
    shares = [0.0, *(100 * stage["random_share"] for stage in curve)]
    lowest = 0.0
    for name, label in _CORRELATIONS.items():
        means = np.array([(1.0, 1.0, 1.0), *(tuple(stage[name]) for stage in curve)])
        axes.plot(shares, means[:, 0], marker="o", markersize=4, label=label)
        axes.fill_between(shares, means[:, 1], means[:, 2], alpha=0.2, linewidth=0)
        lowest = min(lowest, float(np.nanmin(means)))
    axes.axhline(0, color="#7d8491", linewidth=0.8)
    axes.set(
        xlabel="layers made random, from the output down, in %",
        ylabel="rank correlation",
        ylim=(lowest - 0.1, 1.05),
    )
    axes.legend(frameon=False, fontsize=9)
    return drawing


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return round(value, 5) if np.isfinite(value) else None
    return value
