"""Volumes as one long list of slices, preprocessed once and kept compactly."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import torch
from monai.data import get_track_meta, set_track_meta
from monai.transforms import Randomizable
from numpy.typing import NDArray
from torch.utils.data import Dataset, get_worker_info

from breastkit.atomic import atomic_path, make_folder, remove_leftovers
from breastkit.errors import BreastkitError
from breastkit.progress import parallel_map
from breastkit.seeding import generator

# Part of every cache key: raise it when a transform of ours computes something else under the same options.
_FORMAT = 2
_KEYS = ("image", "label")
# What the slices of a volume may follow from.
_SOURCES = (*_KEYS, "breast")
# Seconds after which a file of the cache that is still half-written was left by a killed run; none takes a minute.
_WRITTEN_WITHIN = 3600


class SlicesOfVolumes(Dataset[dict[str, Any]]):
    """The axial slices of many volumes, for a two-dimensional network.

    Every volume goes through `volume_transform` once. Its slices are kept as half-precision images and packed masks, an
    eighth of the space of float volumes: 50 scans of 160 slices take 1.1 GB at 256² and 4.5 GB at 512². With a cache
    folder they are files mapped into memory, shared by all worker processes and reused by later runs as long as neither
    the files nor the transform change; without one they are kept in memory.

    An item is ``{"image", "label"}``, float32 ``(1, rows, columns)`` tensors without metadata, after `transform`, and
    ``case`` and ``slice``, the position of its volume in `data` and of the slice in the volume.

    Args:
        data: volume items with the paths ``image`` and ``label``.
        volume_transform: turns an item into volumes ``(1, rows, columns, slices)`` of one size; a picture
            ``(1, rows, columns)`` counts as a volume of one slice.
        transform: what to do to each slice, random or not.
        cache_dir: the folder of the cache; memory by default.
        workers: processes that fill the cache.
        seed: with `set_epoch`, decides what a random transform does to a slice, whoever loads it.

    Attributes:
        cases: how many volumes there are.

    Raises:
        BreastkitError: if there is no volume, or one cannot be used.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        volume_transform: Callable[..., Any],
        transform: Callable[..., Any] | None = None,
        *,
        cache_dir: str | Path | None = None,
        workers: int = 1,
        seed: int = 0,
    ) -> None:
        self.data = list(data)
        if not self.data:
            raise BreastkitError("The list of scans is empty; check the split or fold that was asked for.")
        self.transform = transform
        self.seed = int(seed)
        folder = make_folder(cache_dir) if cache_dir else None
        if folder:
            remove_leftovers(folder, untouched_for=_WRITTEN_WITHIN)
        prepare = partial(_prepared, transform=volume_transform, folder=folder)
        self.cases = len(self.data)
        self._volumes = parallel_map(prepare, self.data, "preprocessing scans", workers=workers, unit="scan")
        self._ends = list(accumulate(len(volume) for volume in self._volumes))
        # Shared, so that workers that outlive an epoch see the next one.
        self._epoch = torch.full((1,), -1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        case, number = self.locate(index)
        image, label = self._volumes[case][number]
        item = {"image": torch.from_numpy(image)[None], "label": torch.from_numpy(label)[None]}
        if self.transform is not None:
            if isinstance(self.transform, Randomizable):
                self.transform.set_random_state(seed=self._random_seed(index))
            with without_metadata():
                item = self.transform(item)
        return {**item, "case": case, "slice": number}

    def locate(self, index: int) -> tuple[int, int]:
        """Returns the volume a slice belongs to and its number in it."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"slice {index} of {len(self)}")
        index %= len(self)
        case = bisect_right(self._ends, index)
        return case, index - (self._ends[case] - len(self._volumes[case]))

    def set_epoch(self, epoch: int) -> None:
        """Tells which epoch begins, so that random transforms depend on seed, epoch and slice alone.

        Then the number of workers or processes does not matter, and a continued run draws what an unbroken one would
        have. Without this call they follow torch's random stream.
        """
        self._epoch[0] = int(epoch)

    def _random_seed(self, index: int) -> int:
        epoch = int(self._epoch[0])
        if epoch >= 0:
            key = (self.seed, "epoch", epoch)
        elif (worker := get_worker_info()) is not None:
            # The loader draws this base anew for every epoch; the worker's number is taken out of it.
            key = (self.seed, "loader", worker.seed - worker.id)
        else:
            key = (self.seed, "torch", int(torch.randint(2**62, (1,))))
        return int(generator(*key, index % len(self)).integers(2**32))


class _CachedVolume:
    """The slices of one volume: arrays, or the files that hold them, opened when first needed."""

    def __init__(self, arrays: dict[str, NDArray[Any]] | None, paths: dict[str, Path], length: int) -> None:
        self._arrays = arrays
        self._paths = paths
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: int) -> tuple[NDArray[Any], NDArray[Any]]:
        if self._arrays is None:
            self._arrays = {key: np.load(path, mmap_mode="r") for key, path in self._paths.items()}
        image = np.array(self._arrays["image"][number], dtype=np.float32)
        label = np.unpackbits(self._arrays["label"][number], axis=-1, count=image.shape[-1])
        return image, label.astype(np.float32)

    def __getstate__(self) -> dict[str, Any]:
        # A mapped file would be copied whole into a spawned worker.
        return {**self.__dict__, "_arrays": None if self._paths else self._arrays}


def _prepared(item: Mapping[str, Any], *, transform: Callable[..., Any], folder: Path | None) -> _CachedVolume:
    """Returns the compact slices of one volume item, from the cache where it has them."""
    if folder is None:
        arrays = _compact(transform(dict(item)), item)
        return _CachedVolume(arrays, {}, len(arrays["image"]))
    key = _cache_key(item, transform)
    paths = {name: folder / f"{key}-{name}.npy" for name in _KEYS}
    if not all(path.is_file() for path in paths.values()):
        for name, array in _compact(transform(dict(item)), item).items():
            with atomic_path(paths[name]) as temporary:
                np.save(temporary, array)
    return _CachedVolume(None, paths, len(np.load(paths["image"], mmap_mode="r")))


def _compact(volumes: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    if "label" not in volumes:
        raise BreastkitError(f"{item['image']} has no mask; leave it out of the list of scans to learn from.")
    image, label = (torch.as_tensor(volumes[key]).detach().cpu() for key in _KEYS)
    if image.ndim == label.ndim == 3:
        image, label = image[..., None], label[..., None]
    if image.shape != label.shape:
        raise BreastkitError(
            f"{item['label']} has another shape than {item['image']} ({tuple(label.shape[1:])} and "
            f"{tuple(image.shape[1:])} after preprocessing); give the mask drawn on this scan."
        )
    if image.ndim != 4 or image.shape[0] != 1:
        raise ValueError(f"volume_transform must give (1, rows, columns, slices), got {tuple(image.shape)}.")
    images, labels = (np.asarray(volume[0].permute(2, 0, 1)) for volume in (image, label))
    return {"image": images.astype(np.float16), "label": np.packbits(labels > 0.5, axis=-1)}


def _cache_key(item: Mapping[str, Any], transform: Callable[..., Any]) -> str:
    digest = hashlib.blake2b(json.dumps([_FORMAT, _describe(transform)], sort_keys=True).encode(), digest_size=16)
    for key in _SOURCES:
        place = Path(item[key]) if key in item else None
        for path in _files(place):
            digest.update(path.stat().st_size.to_bytes(8, "little"))
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _files(place: Path | None) -> Iterator[Path]:
    if place is None or not place.exists():
        return
    yield from sorted(path for path in place.iterdir() if path.is_file()) if place.is_dir() else (place,)


def _describe(value: Any) -> Any:
    """Returns what a transform is and how it is set up, as JSON; state it gathers while working does not count."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _describe(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_describe(entry) for entry in value]
    if isinstance(value, np.ndarray | torch.Tensor):
        return value.tolist()
    if isinstance(value, FunctionType):
        return [value.__module__, value.__qualname__, value.__code__.co_code.hex(), repr(value.__code__.co_consts)]
    if isinstance(value, partial):
        return _describe([value.func, value.args, value.keywords])
    if isinstance(value, type) or not hasattr(value, "__dict__"):
        return str(value)
    settings = {name: entry for name, entry in vars(value).items() if name != "R" and not name.startswith("_")}
    return [type(value).__module__, type(value).__qualname__, _describe(settings)]


@contextmanager
def without_metadata() -> Iterator[None]:
    """Plain tensors make small transforms up to five times faster, and a slice has no use for an affine."""
    before = get_track_meta()
    set_track_meta(False)
    try:
        yield
    finally:
        set_track_meta(before)
