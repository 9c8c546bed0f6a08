"""How far readers agree: Dice of what both outlined, and Cohen's kappa of the classes both said, pair by pair."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from breastkit.atomic import make_folder, write_text
from breastkit.errors import BreastkitError
from breastkit.metrics.intervals import Interval, bootstrap_interval
from breastkit.report.page import render
from breastkit.server.labels.consensus import dices_of, reading_of
from breastkit.server.labels.readings import Readings, open_readings
from breastkit.server.labels.saved_labels import CLASSES, SavedLabel, reader_tag

_SHOWN = 50
_PAIR_COLUMNS = ("first", "second", "images", "dice", "dice_low", "dice_high", "classes", "same_class", "kappa")
_IMAGE_COLUMNS = ("image", "first", "second", "label", "dice", "first_class", "second_class")
_Known = dict[tuple[Path, int, Path, int], dict[str, float]]


@dataclass(frozen=True)
class BothRead:
    """An image that two read on their own.

    Attributes:
        image: which.
        first: its reader.
        second: the other one.
        dices: by name of what is outlined.
        classes: that they said.
    """

    image: str
    first: str
    second: str
    dices: Mapping[str, float]
    classes: tuple[str | None, str | None]

    @property
    def dice(self) -> float:
        """The mean over what is outlined."""
        return float(np.mean(list(self.dices.values())))


@dataclass(frozen=True)
class PairAgreement:
    """How far two readers agree.

    Attributes:
        first: one of them.
        second: the other one.
        images: that both read.
        dice: mean over the images, with its 95 % interval.
        classes: images of which both said a class.
        same_class: how many of these they called the same.
        kappa: Cohen's; None where it does not exist, as both used one and the same class or none.
    """

    first: str
    second: str
    images: int
    dice: Interval
    classes: int
    same_class: int
    kappa: float | None


class Agreement:
    """Measures how far the readers of a folder agree; what was compared once is not compared again.

    Args:
        readings: of the folder.
    """

    def __init__(self, readings: Readings) -> None:
        self.readings = readings
        self._known: _Known = {}

    def images(self) -> list[BothRead]:
        """Returns what every two readers of an image made of it on their own, before a reviewer sent anything back."""
        own: dict[str, dict[str, SavedLabel]] = {}
        for image, state in self.readings.states().items():
            if len(state.readings) > 1:
                own[image] = {
                    reader: self._on_their_own(image, reader, saved) for reader, saved in state.readings.items()
                }
        return [
            BothRead(image, first, second, self._dices(of[first], of[second]), _classes(of[first], of[second]))
            for image, of in sorted(own.items())
            for first, second in combinations(sorted(of), 2)
        ]

    def _on_their_own(self, image: str, reader: str, current: SavedLabel) -> SavedLabel:
        if current.info.get("round", 1) == 1:
            return current
        first = [
            one for one in self.readings.labels.versions(image, reader_tag(reader)) if one.info.get("round", 1) == 1
        ]
        # Who was asked only after something was sent back has no other.
        return first[-1] if first else current

    def _dices(self, first: SavedLabel, second: SavedLabel) -> dict[str, float]:
        key = (first.path, first.version, second.path, second.version)
        if key not in self._known:
            self._known[key] = dices_of(reading_of("the first reader", first), reading_of("the second reader", second))
        return self._known[key]


def pairs_of(images: Iterable[BothRead]) -> list[PairAgreement]:
    """Returns how far every two readers agree, over the images that both read."""
    of_pair: dict[tuple[str, str], list[BothRead]] = {}
    for one in images:
        of_pair.setdefault((one.first, one.second), []).append(one)
    return [_pair(first, second, both) for (first, second), both in sorted(of_pair.items())]


def _pair(first: str, second: str, both: Sequence[BothRead]) -> PairAgreement:
    said = [one.classes for one in both if None not in one.classes]
    same = sum(one == other for one, other in said)
    return PairAgreement(
        first, second, len(both), bootstrap_interval([one.dice for one in both]), len(said), same, kappa_of(said)
    )


def kappa_of(said: Sequence[tuple[str | None, str | None]]) -> float | None:
    """Returns Cohen's kappa of pairs of classes; None where it does not exist."""
    # With one class in all there is nothing to agree on beyond chance.
    if len({name for pair in said for name in pair}) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score([one for one, _ in said], [other for _, other in said], labels=list(CLASSES)))


def _classes(first: SavedLabel, second: SavedLabel) -> tuple[str | None, str | None]:
    return first.info["class"], second.info["class"]


def pairs_table(pairs: Iterable[PairAgreement]) -> str:
    """Returns the pairs as CSV."""
    rows = (
        (one.first, one.second, one.images, *map(_figure, one.dice), one.classes, one.same_class, _figure(one.kappa))
        for one in pairs
    )
    return _csv(_PAIR_COLUMNS, rows)


def images_table(images: Iterable[BothRead]) -> str:
    """Returns every image as CSV, a row for each pair of readers and each name of what is outlined."""
    rows = (
        (one.image, one.first, one.second, name, _figure(value), *(said or "" for said in one.classes))
        for one in images
        for name, value in one.dices.items()
    )
    return _csv(_IMAGE_COLUMNS, rows)


def _figure(value: float | None) -> str:
    return "" if value is None or not np.isfinite(value) else f"{value:.4f}"


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return stream.getvalue()


def agreement_page(images: Sequence[BothRead], *, tables: Mapping[str, str]) -> str:
    """Returns the page of how far readers agree.

    Args:
        images: that two read.
        tables: where the tables ``pairs`` and ``images`` are.
    """
    worst = sorted(images, key=lambda one: one.dice)
    readers = {name for one in images for name in (one.first, one.second)}
    return render(
        "agreement.html",
        readers=sorted(readers),
        read_twice=len({one.image for one in images}),
        dice=bootstrap_interval([one.dice for one in images]) if images else None,
        pairs=pairs_of(images),
        worst=worst[:_SHOWN],
        more=max(0, len(worst) - _SHOWN),
        tables=tables,
    )


def write_agreement(labels: str, *, out: str) -> Path:
    """Measures how far readers agree: Dice of what both outlined, Cohen's kappa of classes, for every two of them.

    Of an image that was sent back, what its readers saved before that counts: after it they knew what a reviewer wants.

    Args:
        labels: the folder of labels, as 'breastkit serve' keeps them.
        out: the folder to write: index.html, pairs.csv and images.csv.

    Returns:
        The page.

    Raises:
        BreastkitError: if no image was read by two.
    """
    images = Agreement(open_readings(labels)).images()
    if not images:
        raise BreastkitError(
            f"{labels} holds no image that two have read; serve it with --double, and have two read it."
        )
    folder = make_folder(out)
    write_text(folder / "pairs.csv", pairs_table(pairs_of(images)))
    write_text(folder / "images.csv", images_table(images))
    return write_text(
        folder / "index.html", agreement_page(images, tables={"pairs": "pairs.csv", "images": "images.csv"})
    )
