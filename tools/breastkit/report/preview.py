"""`breastkit data preview`: what a network is shown, after everything training does to its images at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breastkit.bundle import Bundle, Reads, Role, find_bundles
from breastkit.cases import CaseList, Item, read_cases
from breastkit.errors import BreastkitError
from breastkit.images import is_volume, stem, write_png
from breastkit.pictures import TRUTH, grid, outline, to_gray8
from breastkit.seeding import generator

PREVIEW_NAME = "preview.png"


def preview(
    folder: str | Path,
    *,
    out: str | Path | None = None,
    bundle: str | None = None,
    images: int = 6,
    variants: int = 5,
    image_size: int | None = None,
    seed: int = 0,
) -> Path:
    """Writes preview.png: training images as they are and as random augmentation makes them, labels outlined.

    Args:
        folder: the prepared folder, or its dataset.json.
        out: the picture to write; preview.png in the folder by default.
        bundle: the bundle whose train.json says what is done to images; found by the set by default.
        images: how many images, a row each.
        variants: how many random versions of each.
        image_size: edge of the network's input; that of the bundle by default.
        seed: another seed shows other images and versions.

    Returns:
        The picture.

    Raises:
        BreastkitError: if the case list has no training case or the bundle no train.json.
    """
    cases = read_cases(folder, check=False)
    rng = generator(seed, "preview")
    items = cases.split("training")
    chosen = [items[position] for position in sorted(rng.choice(len(items), min(images, len(items)), replace=False))]
    draw = _draw_of_bundle(cases, chosen, bundle, image_size, seed)
    return write_preview(
        chosen, draw, Path(out) if out else cases.path.parent / PREVIEW_NAME, variants=variants, seed=seed
    )


def write_preview(
    items: Sequence[Item],
    draw: Callable[..., Mapping[str, Any]],
    out: Path,
    *,
    variants: int = 5,
    seed: int = 0,
) -> Path:
    """Writes a picture of items with random versions beside them.

    Args:
        items: items of a case list, a row each.
        draw: a transform (a MONAI ``Compose``, say) that takes an item, or a function of the row and the version,
            0 standing for the image before anything random; both return ``image`` and ``label`` as (1, rows, columns).
        out: the picture to write.
        variants: how many random versions of each.
        seed: of a transform's randomness.
    """
    if hasattr(draw, "set_random_state"):
        draw = _draw_of_transform(items, draw, seed)
    rows = [[_tile(draw(row, version)) for version in range(variants + 1)] for row in range(len(items))]
    titles = [stem(item["image"] if isinstance(item["image"], str) else item["image"][0]) for item in items]
    columns = ["as prepared", *(f"version {number}" for number in range(1, variants + 1))]
    return write_png(out, grid(rows, tile=224, row_titles=titles, column_titles=columns))


def _draw_of_transform(items: Sequence[Item], transform: Any, seed: int) -> Callable[[int, int], Mapping[str, Any]]:
    from monai.transforms import Compose, Randomizable

    steps = list(getattr(transform, "transforms", [transform]))
    plain = Compose([step for step in steps if not isinstance(step, Randomizable)])

    def draw(row: int, version: int) -> Mapping[str, Any]:
        if version:
            transform.set_random_state(seed=int(generator(seed, row, version).integers(2**31)))
        drawn: Mapping[str, Any] = (transform if version else plain)(dict(items[row]))
        return drawn

    return draw


def _draw_of_bundle(
    cases: CaseList, chosen: Sequence[Item], bundle: str | None, image_size: int | None, seed: int
) -> Callable[[int, int], Mapping[str, Any]]:
    """Reads the training data set out of a bundle's train.json, with the chosen items alone."""
    from monai.bundle import ConfigParser

    root = _bundle_root(cases, bundle)
    parser = ConfigParser()
    parser.read_config(root / "configs" / "train.json")
    parser["bundle_root"] = str(root)
    parser["dataset_dir"] = str(cases.path.parent)
    parser["seed"] = seed
    if image_size is not None:
        parser["image_size"] = image_size
    parser["train"]["dataset"]["data"] = [dict(item) for item in chosen]
    if "cache_dir" in parser["train"]["dataset"]:
        # A few images are quickly read; the folder's cache is for training.
        parser["train"]["dataset"]["cache_dir"] = None
    random_steps = parser["train"]["dataset"].get("transform")
    parser.parse()
    shown = parser.get_parsed_content("train#dataset")
    parser["train"]["dataset"]["transform"] = None
    parser.parse(reset=True)
    plain = parser.get_parsed_content("train#dataset") if random_steps else shown
    positions = _largest_slices(plain, len(chosen))

    def draw(row: int, version: int) -> Mapping[str, Any]:
        if version and hasattr(shown, "set_epoch"):
            shown.set_epoch(version)
        drawn: Mapping[str, Any] = (shown if version else plain)[positions[row]]
        return drawn

    return draw


def _bundle_root(cases: CaseList, bundle: str | None) -> Path:
    root = (Bundle(bundle) if bundle is not None else _trained_on(cases)).folder
    if not (root / "configs" / "train.json").is_file():
        raise BreastkitError(f"{root} has no configs/train.json; name a bundle with --bundle.")
    return root


def _trained_on(cases: CaseList) -> Bundle:
    """Returns the bundle that trains on a set, by the set's name, else one that reads what the set holds."""
    name = str(cases.facts.get("name", "")).lower()
    first = next((item for _, item in cases.items()), {"image": ""})["image"]
    reads = Reads.VOLUME if is_volume(first if isinstance(first, str) else first[0]) else Reads.PICTURE
    trained = [bundle for bundle in find_bundles() if bundle.purpose.data_sets]
    alike = [one for one in trained if one.purpose.reads is reads and one.purpose.role is Role.SEGMENTATION]
    named = (one for one in trained if name.startswith(one.purpose.data_sets))
    return next(named, None) or min(alike, key=lambda one: one.purpose.organ != "breast")


def _largest_slices(dataset: Any, count: int) -> list[int]:
    """Returns for every chosen item the position of its image, or of the slice with the largest label."""
    if len(dataset) == count:
        return list(range(count))
    best: dict[int, tuple[float, int]] = {}
    for position in range(len(dataset)):
        sample = dataset[position]
        area = float(np.asarray(sample["label"]).sum())
        if area >= best.get(int(sample["case"]), (-1.0, 0))[0]:
            best[int(sample["case"])] = (area, position)
    return [best[row][1] for row in range(count)]


def _tile(sample: Mapping[str, Any]) -> NDArray[Any]:
    image, label = (np.asarray(sample[key], dtype=np.float32) for key in ("image", "label"))
    image, label = (array[0] if array.ndim == 3 else array for array in (image, label))
    return outline(to_gray8(image, percentiles=(0, 100)), label > 0.5, TRUTH)
