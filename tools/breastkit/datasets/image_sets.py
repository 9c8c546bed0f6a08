"""What every set of 2D images needs on its way to a case list.

A data set's own module finds the pictures and what is known of them; here they are read whatever their mode, grouped,
checked for contradictions, split, and written as 8-bit grayscale PNG into a folder that stands on its own.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from breastkit.atomic import make_folder
from breastkit.cases import Item, write_cases
from breastkit.datasets.duplicates import (
    RESEMBLANCE,
    THRESHOLD,
    duplicate_groups,
    identical_images,
    near_duplicate_pairs,
    pixel_hash,
    thumbnail,
)
from breastkit.datasets.splits import FRACTIONS, lists_before, split_items
from breastkit.errors import BreastkitError
from breastkit.images import PICTURE_SUFFIXES, read_gray, read_mask, stem, write_png
from breastkit.logs import get_logger
from breastkit.progress import parallel_map

DEFAULT_FOLDS = 5

_log = get_logger(__name__)


@dataclass(frozen=True)
class Picture:
    """One image of a set as downloaded.

    Attributes:
        name: what it is called in the prepared set; unique.
        image: its file.
        masks: files of its masks, which are united; none means that nothing is marked.
        case: the patient; None when the set has no patient ids.
        facts: what else the set knows of it: ``class``, ``birads``…
    """

    name: str
    image: Path
    masks: tuple[Path, ...] = ()
    case: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What a data set's module found in the folder as downloaded.

    Attributes:
        set_name: name of the data set.
        source: the folder looked into.
        pictures: the images.
        problems: one sentence per file that could not be made use of.
    """

    set_name: str
    source: Path
    pictures: list[Picture]
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class SplitRequest:
    """How a set is to be split.

    Attributes:
        seed: another seed gives another split.
        folds: None for 70/20/10; K for all cases in K folds, without validation and test lists.
        random_split: split image by image, although near-duplicates then lie on both sides.
        test_only: everything into the test list, for a set a model is only measured on.
        resemblance: without patient ids, images whose thumbnails correlate by at least this are one case.
    """

    seed: int = 0
    folds: int | None = None
    random_split: bool = False
    test_only: bool = False
    resemblance: float = RESEMBLANCE

    @property
    def fractions(self) -> tuple[float, float, float]:
        """Shares of training, validation and test."""
        if self.test_only:
            return (0.0, 0.0, 1.0)
        return FRACTIONS if self.folds is None else (1.0, 0.0, 0.0)

    def facts(self) -> dict[str, Any]:
        """Returns what the case list keeps of it."""
        return {
            "seed": self.seed,
            "fractions": list(self.fractions),
            "folds": self.folds or DEFAULT_FOLDS,
            "by": "image" if self.random_split else "case",
            "resemblance": self.resemblance,
        }


@dataclass
class _Converted:
    """One picture as written: the item, and what duplicates are found by."""

    name: str
    item: Item
    thumbnail: NDArray[Any]
    pixels: str
    mask_pixels: str


def list_pictures(folder: Path) -> list[Path]:
    """Returns the picture files below a folder, by name, hidden ones left out.

    Raises:
        BreastkitError: if the folder does not exist or is a file.
    """
    if not folder.is_dir():
        what = "is a file, a folder is needed" if folder.exists() else "does not exist"
        raise BreastkitError(f"{folder} {what}; name the folder of the data set.")
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in PICTURE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def prepare_images(
    found: Found,
    out: str | Path,
    *,
    request: SplitRequest,
    leave_out: str | Path | None = None,
    keep_contradictions: bool = False,
    resize_masks: bool = False,
    workers: int | None = None,
) -> Path:
    """Writes ``images/``, ``labels/`` and the case list of a set.

    Where the set has no patient ids, images that resemble each other form a case. A folder prepared before keeps its
    split: cases that were there stay where they were, new ones are dealt.

    Args:
        found: the pictures.
        out: the folder to write.
        request: how to split.
        leave_out: text file with one name of an image to leave out per line.
        keep_contradictions: keep identical images that carry different classes.
        resize_masks: bring masks of another size to the size of their images.
        workers: processes to work with.

    Returns:
        The path of the case list.

    Raises:
        BreastkitError: if no image can be used, or the folder holds a case list of another set or split.
    """
    _check_request(found, request)
    out = make_folder(out).absolute()
    previous = lists_before(out, found.set_name, request.facts(), options="another split")
    problems = list(found.problems)
    pictures, left_out = _without_listed(found.pictures, leave_out, problems)
    pictures = _without_clashes(pictures, problems)
    convert = partial(_convert, out=out, resize_masks=resize_masks)
    converted = parallel_map(convert, pictures, "Preparing images", workers=workers, unit="image")
    problems += [each for each in converted if isinstance(each, str)]
    usable = [each for each in converted if isinstance(each, _Converted)]
    if not usable:
        raise BreastkitError(f"{found.source}: none of {len(pictures)} images can be used: {problems[0]}")

    pairs = near_duplicate_pairs([each.thumbnail for each in usable], request.resemblance)
    _group_by_resemblance(usable, pairs)
    contradicting = _contradictions(usable, pairs, problems, keep=keep_contradictions)
    left_out += [{"image": usable[position].item["image"], "reason": why} for position, why in contradicting.items()]
    items = [each.item for position, each in enumerate(usable) if position not in contradicting]
    lists = _split(items, request, previous, left_out, problems)
    facts = {
        "name": found.set_name,
        "split": request.facts(),
        "near_duplicates": _near_duplicates(pairs, len(usable)),
        "left_out": [entry | {"image": _relative(entry["image"], out)} for entry in left_out],
        "problems": [problem.replace(f"{out}/", "") for problem in problems],
    }
    cases = write_cases(out, lists, facts=facts)
    _log.info("%s", _summary(found.set_name, lists, len(left_out), len(problems)))
    return cases.path


def _check_request(found: Found, request: SplitRequest) -> None:
    if request.folds is not None and request.folds < 2:
        raise BreastkitError(f"{request.folds} folds were asked for; give at least 2.")
    if not 0.5 <= request.resemblance <= THRESHOLD:
        raise BreastkitError(f"A resemblance of {request.resemblance} was asked for; give 0.5 to {THRESHOLD}.")
    if request.folds is not None and request.test_only:
        raise BreastkitError("Folds and a test list of everything exclude each other; ask for one of them.")
    if not found.pictures:
        reason = f": {found.problems[0]}" if found.problems else "; give the folder as downloaded."
        raise BreastkitError(f"{found.source} holds no images in the layout of {found.set_name}{reason}")


def _split(
    items: list[Item],
    request: SplitRequest,
    previous: dict[str, list[Item]] | None,
    left_out: list[dict[str, str]],
    problems: list[str],
) -> dict[str, list[Item]]:
    """Deals the items to lists, and adds what no list can take to `left_out` and `problems`."""
    if request.random_split:
        items = [item | {"case": stem(item["image"])} for item in items]
    split = split_items(
        items,
        seed=request.seed,
        fractions=request.fractions,
        folds=request.folds or DEFAULT_FOLDS,
        stratify="class" if any("class" in item for item in items) else None,
        previous=previous,
    )
    for item in split.left_out:
        why = "it resembles cases on two sides of the split made before"
        problems.append(f"{item['image']} is left out: {why}.")
        left_out.append({"image": item["image"], "reason": why})
    return split.lists


def _without_listed(
    pictures: Sequence[Picture], leave_out: str | Path | None, problems: list[str]
) -> tuple[list[Picture], list[dict[str, str]]]:
    """Takes the images out that a file names."""
    if leave_out is None:
        return list(pictures), []
    path = Path(leave_out)
    if not path.is_file():
        raise BreastkitError(f"{path} does not exist; it should name one image to leave out per line.")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise BreastkitError(f"{path} is no text file; it should name one image to leave out per line.") from error
    wanted = {stem(line.strip()) for line in lines if line.strip() and not line.startswith("#")}
    names = {name for picture in pictures for name in (picture.name, stem(picture.image))}
    problems += [f"{path.name} names '{name}', but there is no such image." for name in sorted(wanted - names)]
    kept = [picture for picture in pictures if not wanted & {picture.name, stem(picture.image)}]
    gone = [picture for picture in pictures if picture not in kept]
    return kept, [{"image": picture.image.name, "reason": f"named in {path.name}"} for picture in gone]


def _without_clashes(pictures: Iterable[Picture], problems: list[str]) -> list[Picture]:
    """Keeps the first of pictures that would be written to one name; upper and lower case are one on some systems."""
    taken: dict[str, Picture] = {}
    for picture in pictures:
        first = taken.setdefault(picture.name.lower(), picture)
        if first is not picture:
            problems.append(
                f"{picture.image} is left out: {first.image} would get the same name '{picture.name}'; rename one."
            )
    return list(taken.values())


def _convert(picture: Picture, *, out: Path, resize_masks: bool) -> _Converted | str:
    """Reads a picture with its masks and writes both as 8-bit gray; of one that cannot be used, returns why."""
    try:
        gray = read_gray(picture.image)
        mask = _united(picture, gray.shape, resize_masks)
        image = write_png(out / "images" / f"{picture.name}.png", gray)
        label = write_png(out / "labels" / f"{picture.name}.png", mask * 255)
    except BreastkitError as error:
        return f"{error} The image is left out."
    item = {"image": str(image), "label": str(label)} | picture.facts | {"lesion_px": int(mask.sum())}
    if picture.case is not None:
        item["case"] = picture.case
    return _Converted(picture.name, item, thumbnail(gray), pixel_hash(gray), pixel_hash(mask))


def _united(picture: Picture, shape: tuple[int, ...], resize_masks: bool) -> NDArray[Any]:
    united = np.zeros(shape, np.uint8)
    for path in picture.masks:
        mask = read_mask(path)
        if mask.shape != shape:
            if not resize_masks:
                raise BreastkitError(
                    f"{path} is {mask.shape[1]}x{mask.shape[0]} pixels but {picture.image} {shape[1]}x{shape[0]}; "
                    "resize it or prepare the set with --resize-masks."
                )
            larger = cv2.resize(mask * 255, shape[::-1], interpolation=cv2.INTER_LINEAR)
            mask = (larger > 127).astype(np.uint8)
        united |= mask
    return united


def _group_by_resemblance(usable: Sequence[_Converted], pairs: Sequence[tuple[int, int, float]]) -> None:
    """Makes images that resemble each other a case where the set has no patient ids."""
    # Flat images correlate with nothing, yet identical ones belong together.
    same = [(group[0], other) for group in identical_images([each.pixels for each in usable]) for other in group[1:]]
    first: dict[int, str] = {}
    for each, group in zip(usable, duplicate_groups([*pairs, *same], len(usable)), strict=True):
        each.item.setdefault("case", first.setdefault(group, each.name))


def _near_duplicates(pairs: Sequence[tuple[int, int, float]], count: int) -> dict[str, Any]:
    near = [pair for pair in pairs if pair[2] >= THRESHOLD]
    sizes = Counter(duplicate_groups(near, count)).values()
    return {"pairs": len(near), "groups": sum(size > 1 for size in sizes), "correlation": THRESHOLD}


def _contradictions(
    usable: Sequence[_Converted], pairs: Sequence[tuple[int, int, float]], problems: list[str], *, keep: bool
) -> dict[int, str]:
    """Reports images that contradict each other, and returns the positions of those to leave out with the reason."""
    left_out: dict[int, str] = {}
    reported: set[tuple[int, int]] = set()
    for group in identical_images([each.pixels for each in usable]):
        reported.update((i, j) for i in group for j in group)
        classes = {str(usable[position].item.get("class")) for position in group}
        names = " and ".join(f"'{usable[position].name}'" for position in group)
        if len(classes) > 1:
            fate = "kept, as asked for" if keep else "left out"
            problems.append(f"{names} are the same image under the classes {' and '.join(sorted(classes))}: {fate}.")
            if not keep:
                left_out |= dict.fromkeys(group, f"{names} are one image with different classes")
        elif len({usable[position].mask_pixels for position in group}) > 1:
            problems.append(f"{names} are the same image with different masks; leave one out with --leave-out.")
    for i, j, r in pairs:
        first, second = usable[i], usable[j]
        kinds = first.item.get("class"), second.item.get("class")
        if kinds[0] != kinds[1] and (i, j) not in reported and not {i, j} & set(left_out):
            problems.append(
                f"'{first.name}' and '{second.name}' resemble each other (correlation {r:.3f}) but are of two classes; "
                "leave one out with --leave-out if they show one lesion."
            )
    across = [(i, j) for i, j, r in pairs if r >= THRESHOLD and usable[i].item["case"] != usable[j].item["case"]]
    if across:
        i, j = across[0]
        problems.append(
            f"{len(across)} pairs of near-duplicates belong to different patients, for example '{usable[i].name}' and "
            f"'{usable[j].name}'; they are split by patient."
        )
    return left_out


def _relative(image: str, out: Path) -> str:
    path = Path(image)
    return path.relative_to(out).as_posix() if path.is_relative_to(out) else image


def _summary(set_name: str, lists: dict[str, list[Item]], omitted: int, problems: int) -> str:
    counts = ", ".join(f"{len(items)} {name}" for name, items in lists.items())
    text = f"{set_name}: {counts}; {omitted} left out; {problems} problems found"
    return text + (", see 'breastkit data report'" if problems else "")


_MASK_NAME = re.compile(r"^(?P<image>.+?)[_ -]mask(?:[_ -]?\d+)?$", re.IGNORECASE)


def image_of_mask(name: str) -> str | None:
    """Returns the image name within a mask's name: ``a_mask`` and ``a_mask_1`` give ``a``; None when it is no mask."""
    match = _MASK_NAME.match(name)
    return match["image"] if match else None


def match_masks(
    images: Iterable[tuple[str, Path]], masks: Iterable[tuple[str, Path]], problems: list[str]
) -> list[tuple[str, Path, tuple[Path, ...]]]:
    """Joins images and masks by key, and reports masks without an image.

    Args:
        images: key and file of every image.
        masks: key and file of every mask; several may share a key.
        problems: gets one sentence per mask that no image belongs to.

    Returns:
        Key, image and its masks, for every image, also those without one.
    """
    of_key: dict[str, list[Path]] = defaultdict(list)
    for key, path in masks:
        of_key[key].append(path)
    joined = [(key, path, tuple(of_key.get(key, ()))) for key, path in images]
    known = {key for key, *_ in joined}
    problems += [
        f"{path} is a mask without an image; add the image or remove the mask."
        for key, paths in of_key.items()
        if key not in known
        for path in paths
    ]
    return joined
