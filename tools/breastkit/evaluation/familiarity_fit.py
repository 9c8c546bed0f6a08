"""`breastkit calibrate familiar`: what the ultrasound classifier has learnt from, and how others are recognised."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from breastkit.atomic import make_folder, write_figures
from breastkit.bundle import Bundle
from breastkit.cases import Item, read_cases
from breastkit.datasets.image_sets import list_pictures
from breastkit.errors import BreastkitError
from breastkit.images import read_gray
from breastkit.inference.familiarity import Familiarity, fit_familiarity, map_statistics
from breastkit.inference.ultrasound import LesionClassifier, weights_that_say_normal
from breastkit.metrics import share_interval
from breastkit.pipelines import ULTRASOUND
from breastkit.progress import track
from breastkit.seeding import generator

# In the middle of the network: the blocks behind it tell classes apart and take noise for tissue.
_LAYER = "trunk.features.model.blocks.4"
_MADE_UP = 30

_Array = NDArray[np.float64]


def fit_familiar(
    source: str,
    *,
    out: str,
    others: Sequence[str] = (),
    normal_classifier: str | None = None,
    layer: str = _LAYER,
) -> Path:
    """Fits what `breastkit run us` tells unfamiliar pictures by, and measures it.

    It is fitted on the training list, its limit set by the validation list, and measured on the test list against
    noise, drawings made by code, and the folders named. Beside the file, summary.json is written.

    Args:
        source: a case list of pictures, such as the classifier has learnt from.
        out: the file to write, familiar.npz beside the weights to be used.
        others: folders of pictures of something else; give the option once a folder.
        normal_classifier: weights of the classifier; those that the bundle ships by default.
        layer: of the network, whose maps are looked at.

    Returns:
        The file.

    Raises:
        BreastkitError: if a list is empty or the network has no such layer.
    """
    cases, bundle = read_cases(source), Bundle(ULTRASOUND)
    classifier = LesionClassifier(normal_classifier or weights_that_say_normal(bundle), bundle=bundle, backend="torch")
    if layer not in dict(classifier.bundle.network.named_modules()):
        raise BreastkitError(f"The network has no layer '{layer}'; name one of its own with --layer.")

    def statistics(grays: Iterable[NDArray[Any]], what: str, total: int) -> _Array:
        pictures = track(grays, what, unit="picture", total=total)
        return np.stack([map_statistics(classifier.bundle.network, layer, classifier.bare(gray)) for gray in pictures])

    def of(items: Sequence[Item], what: str) -> _Array:
        return statistics((read_gray(item["image"]) for item in items), what, len(items))

    training, validation, test = (cases.split(name) for name in ("training", "validation", "test"))
    sites = [str(item.get("site", "")) for item in training]
    known = fit_familiarity(
        of(training, "training"),
        sites,
        of(validation, "validation"),
        layer=layer,
        weights=str(classifier.bundle.facts["sha256"]),
    )
    strange: dict[str, _Array] = {
        name: statistics((make(number) for number in range(_MADE_UP)), name, _MADE_UP)
        for name, make in {"noise": _noise, "drawings": _drawing}.items()
    }
    for folder in map(Path, others):
        paths = [path for path in list_pictures(folder) if "_mask" not in path.name]
        strange[folder.name] = statistics((read_gray(path) for path in paths), folder.name, len(paths))
    path = Path(out)
    make_folder(path.parent)
    write_figures(path.with_name("summary.json"), _figures(known, test, of(test, "test"), strange, cases.hash))
    return known.write(path)


def _figures(
    known: Familiarity, test: Sequence[Item], statistics: _Array, strange: dict[str, _Array], case_list_hash: str
) -> dict[str, Any]:
    """Returns shares of the test pictures and of others that are unfamiliar, and the areas under the ROC curve."""
    distances = known.distances(statistics)
    sites = np.array([str(item.get("site", "")) for item in test])

    def figures_of(apart: _Array) -> dict[str, Any]:
        flagged = share_interval(int((apart > known.limit).sum()), len(apart))
        return {"pictures": len(apart), "share_unfamiliar": flagged, "median_distance": float(np.median(apart))}

    found: dict[str, Any] = {}
    for name, apart in ((name, known.distances(one)) for name, one in strange.items()):
        truth = np.repeat([0, 1], [len(distances), len(apart)])
        area = roc_auc_score(truth, np.concatenate([distances, apart]))
        found[name] = {**figures_of(apart), "auroc": float(area)}
    return {
        "layer": known.layer,
        "weights": known.weights,
        "limit": known.limit,
        "case_list_hash": case_list_hash,
        "familiar": figures_of(distances),
        "sites": {site: figures_of(distances[sites == site]) for site in sorted(set(sites))},
        "others": found,
    }


def _noise(number: int) -> NDArray[np.uint8]:
    return generator(0, "noise", number).integers(0, 256, (256, 320), dtype=np.uint8)


def _drawing(number: int) -> NDArray[np.uint8]:
    """Returns shapes on a bright ground, smoothed a little, as a photograph of a desk is."""
    random = generator(0, "drawing", number)
    # OpenCV's types know less than it takes.
    paint: Any = cv2
    gray = np.full((256, 320), int(random.integers(90, 220)), np.uint8)
    for _ in range(12):
        shade, radius = int(random.integers(0, 255)), int(random.integers(5, 50))
        (left, top), (right, bottom) = random.integers(0, 320, (2, 2)).tolist()
        paint.rectangle(gray, (left, top), (right, bottom), shade, int(random.choice([-1, 3])))
        paint.circle(gray, (right, top), radius, 255 - shade, -1)
        paint.line(gray, (left, bottom), (right, top), shade, 2)
    smooth: NDArray[np.uint8] = paint.GaussianBlur(gray, (5, 5), 0)
    return smooth
