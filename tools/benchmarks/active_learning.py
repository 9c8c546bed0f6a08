"""Simulated annotation: how well a small network outlines lesions after so many labels, for every way to choose them.

Labels that are known are hidden and uncovered round by round, as an annotator would draw them. After every round a
small network is trained anew, from the same start and for as many steps whatever it is given, so that a curve shows
what the labels are worth and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from torch import nn
from torch.nn import functional

from breastkit.active_learning import Choice, Pool, choose, deepest_features, uncertainty_of
from breastkit.atomic import atomic_path, make_folder, write_json
from breastkit.cases import LISTS, Item, read_cases
from breastkit.datasets.duplicates import thumbnail
from breastkit.datasets.splits import split_items
from breastkit.errors import BreastkitError
from breastkit.images import read_gray, read_mask
from breastkit.metrics.intervals import Interval, grouped_interval
from breastkit.metrics.segmentation import dice
from breastkit.progress import progress_bar
from breastkit.seeding import generator, seed_everything
from breastkit.tables import write_table
from breastkit.transforms.letterbox import Letterbox
from breastkit.transforms.letterbox_pictures import letterbox_picture
from breastkit.transforms.letterbox_slices import letterbox_masks

Strategy = Literal["first", "random", "uncertainty", "diversity", "mix"]
STRATEGIES: tuple[Strategy, ...] = ("random", "uncertainty", "diversity", "mix")
# Of the pictures to label, after each round.
SHARES = (0.06, 0.12, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0)
# What the mix is held to: as good as random with all labels.
AIM = 0.6
_TEST_SHARE = 0.25
_BATCH, _LEARNING_RATE, _THRESHOLD = 16, 3e-3, 0.5
TABLE, PICTURE, SUMMARY = "active_learning.csv", "active_learning.png", "active_learning.json"


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures, small and in memory.

    Attributes:
        images: ``(pictures, 1, size, size)``, mean 0 and deviation 1 each.
        masks: the same of zeros and ones.
        thumbnails: by which near-duplicates are known.
        cases: which group each belongs to.
    """

    images: torch.Tensor
    masks: torch.Tensor
    thumbnails: np.ndarray
    cases: tuple[str, ...]

    def part(self, positions: Sequence[int]) -> Pictures:
        """Returns some of them."""
        chosen = list(positions)
        cases = tuple(self.cases[one] for one in chosen)
        return Pictures(self.images[chosen], self.masks[chosen], self.thumbnails[chosen], cases)


def read_pictures(items: Sequence[Item], size: int) -> Pictures:
    """Reads pictures and masks of a case list as squares of a size."""
    images, masks, thumbnails = [], [], []
    for item in items:
        gray = read_gray(item["image"])
        square, _ = letterbox_picture(gray, size)
        images.append((square - square.mean()) / max(float(square.std()), 1e-6))
        mask = read_mask(item["label"]) > 0
        masks.append(letterbox_masks(mask[None], Letterbox(*mask.shape, size))[0])
        thumbnails.append(thumbnail(gray))
    tensors = [torch.from_numpy(np.stack(ones)).float()[:, None] for ones in (images, masks)]
    tensors[0] = tensors[0].to(memory_format=torch.channels_last)
    return Pictures(*tensors, np.stack(thumbnails), tuple(str(item["case"]) for item in items))


def small_network() -> nn.Module:
    """Returns the network that is trained after every round."""
    network = UNet(2, 1, 1, channels=(8, 16, 32, 64, 128), strides=(2, 2, 2, 2), act="RELU", norm="BATCH")
    # On a CPU a third faster.
    return network.to(memory_format=torch.channels_last)


def train(pictures: Pictures, *, steps: int, seed: int) -> nn.Module:
    """Trains a network on pictures from the start that belongs to a seed, and returns it in evaluation mode."""
    seed_everything(seed)
    network = small_network().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps, pct_start=0.2)
    loss_of, draws = DiceCELoss(sigmoid=True, smooth_nr=1.0, smooth_dr=1.0), generator(seed, "batches")
    order: list[int] = []
    for _ in range(steps):
        while len(order) < _BATCH:
            order += draws.permutation(len(pictures.cases)).tolist()
        batch, order = order[:_BATCH], order[_BATCH:]
        images, masks = _varied(pictures.images[batch], pictures.masks[batch], draws)
        optimizer.zero_grad()
        loss_of(network(images), masks).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def _varied(images: torch.Tensor, masks: torch.Tensor, draws: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns pictures flipped left to right, moved, scaled and of another contrast, each by chance."""
    count = len(images)
    scale = torch.from_numpy(draws.uniform(0.85, 1.15, count)).float()
    moves = torch.from_numpy(draws.uniform(-0.1, 0.1, (count, 2))).float()
    flips = torch.from_numpy(draws.choice([-1.0, 1.0], count)).float()
    places = torch.zeros(count, 2, 3)
    places[:, 0, 0], places[:, 1, 1], places[:, :, 2] = scale * flips, scale, moves
    grid = functional.affine_grid(places, list(images.shape), align_corners=False)
    images = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    masks = functional.grid_sample(masks, grid, mode="nearest", align_corners=False)
    gain, offset = (torch.from_numpy(draws.normal(0, 0.15, (count, 1, 1, 1))).float() for _ in range(2))
    return images * (1 + gain) + offset, masks


def look_at(network: nn.Module, images: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Returns the probability of every pixel, the mean of both ways round, and the features of every picture."""
    probabilities, features = [], []
    for batch in images.split(64):
        logits, found = deepest_features(network, batch)
        with torch.no_grad():
            turned = network(batch.flip(-1)).flip(-1)
        probabilities.append((logits.sigmoid() + turned.sigmoid()) / 2)
        features.append(found)
    return torch.cat(probabilities)[:, 0].numpy(), torch.cat(features).numpy()


def dices(network: nn.Module, pictures: Pictures) -> list[float]:
    """Returns the Dice of every picture."""
    found = look_at(network, pictures.images)[0] > _THRESHOLD
    truth = pictures.masks[:, 0].numpy() > 0
    return [dice(*pair) for pair in zip(found, truth, strict=True)]


@dataclass(frozen=True)
class Round:
    """What was reached after so many labels.

    Attributes:
        seed: of split, start and training.
        strategy: how images were chosen.
        share: of the pool that is labelled.
        labels: number of labelled pictures.
        dices: of the test pictures with a lesion.
    """

    seed: int
    strategy: str
    share: float
    labels: int
    dices: np.ndarray

    @property
    def dice(self) -> float:
        """The mean over the test pictures."""
        return float(self.dices.mean())


@dataclass(frozen=True)
class Halves:
    """Pictures to choose from, and pictures with a lesion to test on, of other cases."""

    pool: Pictures
    test: Pictures


def split_pictures(items: Sequence[Item], pictures: Pictures, seed: int) -> Halves:
    """Deals pictures to pool and test by their cases, so that no near-duplicate or patient is on both sides.

    Raises:
        BreastkitError: if there are too few.
    """
    numbered = [
        {"image": f"{number:09d}", "case": item["case"], "class": item.get("class")}
        for number, item in enumerate(items)
    ]
    fractions = (1 - _TEST_SHARE, 0.0, _TEST_SHARE)
    lists = split_items(numbered, seed=seed, fractions=fractions, folds=1, stratify="class").lists
    pool, test = ([int(item["image"]) for item in lists[name]] for name in ("training", "test"))
    test = [number for number in test if pictures.masks[number].any()]
    if len(pool) < 2 or not test:
        raise BreastkitError("There are too few labelled pictures to simulate annotation; prepare more cases.")
    return Halves(pictures.part(pool), pictures.part(test))


def simulate(
    halves: Halves,
    strategy: str,
    *,
    seed: int,
    steps: int,
    shares: Sequence[float],
    trained: dict[bytes, nn.Module],
    advance: Callable[[], object] = lambda: None,
) -> list[Round]:
    """Labels a pool round by round and returns what a network trained on the labels reached after each.

    Args:
        halves: pool and test.
        strategy: how to choose.
        seed: the pictures labelled at the start, and all training, depend on it alone.
        steps: of every training.
        shares: of the pool, labelled after each round.
        trained: networks by what they were trained on, of the same halves, seed and steps; new ones are added.
        advance: is told after each round.
    """
    pool, count = halves.pool, len(halves.pool.cases)
    labelled = np.zeros(count, dtype=bool)
    labelled[generator(seed, "start").permutation(count)[: max(1, round(shares[0] * count))]] = True
    rounds = []
    for position, share in enumerate(shares):
        network = trained.get(labelled.tobytes())
        if network is None:
            network = train(pool.part(np.flatnonzero(labelled)), steps=steps, seed=seed)
            trained[labelled.tobytes()] = network
        reached = np.array(dices(network, halves.test))
        rounds.append(Round(seed, strategy, share, int(labelled.sum()), reached))
        advance()
        if position + 1 < len(shares):
            wanted = max(1, round(shares[position + 1] * count)) - int(labelled.sum())
            labelled[choose(_known_of(pool, labelled, network), Choice(strategy), wanted, seed=seed)] = True
    return rounds


def _known_of(pool: Pictures, labelled: np.ndarray, network: nn.Module) -> Pool:
    probabilities, features = look_at(network, pool.images)
    return Pool(labelled, np.array([uncertainty_of(one) for one in probabilities]), features, pool.thumbnails)


def simulate_annotation(
    data: str,
    *,
    out: str = "runs/active_learning",
    seeds: int = 3,
    first_seed: int = 0,
    strategies: Sequence[Strategy] = STRATEGIES,
    image_size: int = 64,
    steps: int = 600,
    shares: Sequence[float] = SHARES,
) -> str:
    """Simulates annotation on labelled pictures: Dice of lesions against number of labels, for each strategy.

    Every seed splits the cases anew into three quarters to label and a quarter to test on, labels the same pictures at
    random to begin with, and goes on by each strategy. All labels of all lists of the case list are used.

    Args:
        data: prepared pictures with masks, for example by 'breastkit data prepare busi'.
        out: the folder to write active_learning.csv, .png and .json to. Curves that are finished there are not made
            again, so a run that was stopped goes on, and seeds may be run side by side before one run joins them.
        seeds: how often to repeat it with another split.
        first_seed: the first of the seeds.
        strategies: which to compare: first, random, uncertainty, diversity, mix.
        image_size: side of the squares that pictures are scaled to.
        steps: of every training.
        shares: of the pictures to label, after each round; the last one is all of them, 1.

    Returns:
        What came out, in lines.

    Raises:
        BreastkitError: if there are too few labelled pictures, or an option makes no sense.
    """
    if min(seeds, image_size // 32, steps, len(strategies)) < 1:
        raise BreastkitError("seeds and steps are 1 or more, image_size is 32 or more; correct the option.")
    if list(shares) != sorted(set(shares)) or not 0 < shares[0] <= shares[-1] == 1:
        raise BreastkitError("shares rise from above 0 to 1, for example 0.1,0.3,1; correct the option.")
    cases = read_cases(data)
    # By name, so that it does not matter how the set was split before.
    labelled = [item for name in LISTS for item in getattr(cases, name) if "label" in item]
    items = sorted(labelled, key=lambda item: str(item["image"]))
    settings = {"case_list_hash": cases.hash, "image_size": image_size, "steps": steps, "shares": list(shares)}
    kept = _KeptCurves(Path(out) / "curves", settings)
    pictures = read_pictures(items, image_size)
    rounds: list[Round] = []
    tested: dict[int, tuple[str, ...]] = {}
    with progress_bar("Trainings", total=seeds * len(strategies) * len(shares), unit="training") as bar:
        for seed in range(first_seed, first_seed + seeds):
            halves = split_pictures(items, pictures, seed)
            tested[seed] = halves.test.cases
            # The first and the last round are the same for all strategies.
            same = {"seed": seed, "steps": steps, "shares": shares, "trained": {}, "advance": bar.update}
            for strategy in strategies:
                found = kept.read(seed, strategy)
                if found:
                    bar.update(len(found))
                rounds += found or kept.write(simulate(halves, strategy, **same))
    told = {"data": cases.facts.get("name"), "pictures": len(items), "seeds": list(tested), **settings}
    summary = {**told, **summarise(rounds, tested)}
    write_table(Path(out) / TABLE, _rows(rounds))
    write_json(Path(out) / SUMMARY, summary)
    _draw(Path(out) / PICTURE, rounds)
    return "\n".join([*_lines(summary), f"Written: {Path(out) / TABLE}, {PICTURE} and {SUMMARY}"])


class _KeptCurves:
    """What is done, a file a seed and strategy, so that a run that was stopped goes on.

    Args:
        folder: made when missing.
        settings: of the run; curves of other ones are refused.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder, self.settings = make_folder(folder), settings

    def read(self, seed: int, strategy: str) -> list[Round]:
        """Returns the rounds of a curve, none if it is not there.

        Raises:
            BreastkitError: if it is there and was made with other settings.
        """
        path = self._path(seed, strategy)
        if not path.is_file():
            return []
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["settings"] != self.settings:
            raise BreastkitError(
                f"{path} was made with other data or options; choose another --out, or remove {self.folder}."
            )
        return [Round(**{**one, "dices": np.array(one["dices"])}) for one in kept["rounds"]]

    def write(self, rounds: list[Round]) -> list[Round]:
        """Writes a curve and returns it."""
        told = [{**vars(one), "dices": one.dices.tolist()} for one in rounds]
        write_json(self._path(rounds[0].seed, rounds[0].strategy), {"settings": self.settings, "rounds": told})
        return rounds

    def _path(self, seed: int, strategy: str) -> Path:
        return self.folder / f"{seed}_{strategy}.json"


def summarise(rounds: Sequence[Round], cases: Mapping[int, Sequence[str]]) -> dict[str, Any]:
    """Returns what came out: for each strategy the share of labels that reaches random's Dice at all labels.

    Args:
        rounds: of all seeds and strategies.
        cases: of the test pictures, by seed.
    """
    curves = {name: _curve(rounds, name) for name in dict.fromkeys(one.strategy for one in rounds)}
    if "random" not in curves:
        return {"dice": curves}
    target = curves["random"][1.0]
    below = max((share for share in curves["random"] if share <= AIM), default=None)
    told: dict[str, Any] = {"dice": curves, "random_at_all_labels": target, "reached_at_share": {}, "difference": {}}
    for name, curve in curves.items():
        told["reached_at_share"][name] = share_that_reaches(curve, target)
        if below is not None:
            told["difference"][name] = {"share": below, **_difference(rounds, cases, name, below)._asdict()}
    return told


def share_that_reaches(curve: Mapping[float, float], target: float) -> float | None:
    """Returns the smallest share at which a curve reaches a Dice, between two rounds by a straight line; None if never.

    Args:
        curve: Dice by share, shares rising.
        target: the Dice.
    """
    before: tuple[float, float] | None = None
    for share, reached in curve.items():
        if reached >= target:
            if before is None:
                return share
            return before[0] + (share - before[0]) * (target - before[1]) / (reached - before[1])
        before = share, reached
    return None


def _curve(rounds: Sequence[Round], strategy: str) -> dict[float, float]:
    """Returns the mean Dice over the seeds by share."""
    own = [one for one in rounds if one.strategy == strategy]
    return {
        share: float(np.mean([one.dice for one in own if one.share == share]))
        for share in sorted({one.share for one in own})
    }


def _difference(rounds: Sequence[Round], cases: Mapping[int, Sequence[str]], strategy: str, share: float) -> Interval:
    """Returns by how much a strategy at a share is better than random with all labels, picture by picture."""
    values: list[float] = []
    groups: list[str] = []
    for seed, names in cases.items():
        reached, other = (
            next(one.dices for one in rounds if (one.seed, one.strategy, one.share) == (seed, *wanted))
            for wanted in ((strategy, share), ("random", 1.0))
        )
        values += (reached - other).tolist()
        groups += names
    return grouped_interval(values, groups)


def _lines(summary: Mapping[str, Any]) -> list[str]:
    lines = [
        f"active-learning: {summary['pictures']} pictures, seeds {summary['seeds']}, mean Dice of lesions by share"
    ]
    for name, curve in summary["dice"].items():
        lines.append(f"  {name}: " + ", ".join(f"{reached:.3f} at {share:.0%}" for share, reached in curve.items()))
    for name, share in summary.get("reached_at_share", {}).items():
        told = f"with {share:.0%} of the labels" if share is not None else "never"
        lines.append(f"  {name} reaches random's Dice at all labels, {summary['random_at_all_labels']:.3f}, {told}")
    for name, found in summary.get("difference", {}).items():
        interval = Interval(found["value"], found["low"], found["high"])
        lines.append(f"  {name} at {found['share']:.0%} less random at all labels: {interval.text()}")
    return lines


def _rows(rounds: Sequence[Round]) -> list[dict[str, Any]]:
    return [
        {
            "seed": one.seed,
            "strategy": one.strategy,
            "share": one.share,
            "labels": one.labels,
            "test_pictures": len(one.dices),
            "dice": round(one.dice, 4),
        }
        for one in rounds
    ]


def _draw(path: Path, rounds: Sequence[Round]) -> None:
    """Draws the mean over the seeds, and each seed as a point."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(dict.fromkeys(one.strategy for one in rounds)):
        colour, own = f"C{number}", [one for one in rounds if one.strategy == name]
        labels = {share: np.mean([one.labels for one in own if one.share == share]) for share in _curve(own, name)}
        axes.plot(list(labels.values()), list(_curve(own, name).values()), marker="o", color=colour, label=name)
        axes.scatter([one.labels for one in own], [one.dice for one in own], s=8, color=colour, alpha=0.4)
        if name == "random":
            axes.axhline(_curve(own, name)[1.0], color=colour, linestyle=":", label="random, all labels")
    axes.set(xlabel="labelled pictures", ylabel="Dice of lesions, test pictures")
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)
