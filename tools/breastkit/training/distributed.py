"""Several processes that train one network, on `ignite.distributed`: how they start, and how batches are shared."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sized
from typing import Any, cast

import ignite.distributed as idist
import torch
from monai.data import DataLoader
from torch.utils.data import Dataset, Sampler

from breastkit.errors import BreastkitError
from breastkit.seeding import generator


def is_main() -> bool:
    """Tells whether this process is the one that writes files and logs."""
    return idist.get_rank() == 0


def sum_over_processes(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the sum of a tensor over all processes."""
    return cast(torch.Tensor, idist.all_reduce(tensor))


def start_processes() -> None:
    """Joins the processes torchrun started: NCCL with GPUs, gloo without; once, however often it is called.

    Raises:
        BreastkitError: if torchrun did not start this process.
    """
    if idist.backend() is not None:
        return
    if "LOCAL_RANK" not in os.environ:
        raise BreastkitError(
            "multi_gpu_train.json needs torchrun; start it with 'torchrun --nproc_per_node N -m monai.bundle run …'."
        )
    idist.initialize("nccl" if torch.cuda.is_available() else "gloo")


def stop_processes() -> None:
    """Leaves the processes torchrun started."""
    if idist.backend() is not None:
        idist.finalize()


class SharedBatches(Sampler[list[int]]):
    """Batch sampler that gives every process its part of each global batch.

    Every item is used once an epoch, and all processes take as many steps, which gradient averaging needs: the last
    batch is joined to the one before it when it has fewer items than there are processes. Validation uses it too, in
    one shuffled order: a batch of neighbouring slices may have no target at all, and its loss then means little.

    Args:
        dataset: what is sampled.
        batch_size: items of a step over all processes together, so that a run is the same with any number of them.
        shuffle: draw a new order every epoch (see `set_epoch`).
        seed: of the orders; the same in every process.

    Raises:
        BreastkitError: if there are fewer items than processes.
    """

    def __init__(self, dataset: Sized, *, batch_size: int, shuffle: bool, seed: int = 0):
        self.length, self.batch_size, self.shuffle, self.seed = len(dataset), batch_size, shuffle, seed
        self.epoch = 0
        processes = idist.get_world_size()
        if min(self.length, batch_size) < processes:
            raise BreastkitError(
                f"{self.length} slices in batches of {batch_size} cannot be shared by {processes} processes; "
                "start fewer processes or enlarge --batch_size."
            )

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of an epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._starts())

    def __iter__(self) -> Iterator[list[int]]:
        order = list(range(self.length))
        if self.shuffle:
            order = generator(self.seed, "batches", self.epoch).permutation(self.length).tolist()
        starts = self._starts()
        for start, end in zip(starts, [*starts[1:], self.length], strict=True):
            yield order[start:end][idist.get_rank() :: idist.get_world_size()]

    def _starts(self) -> list[int]:
        starts = list(range(0, self.length, self.batch_size))
        if len(starts) > 1 and self.length - starts[-1] < idist.get_world_size():
            starts.pop()
        return starts


class SharedLoader(DataLoader):
    """MONAI's loader, which in a run of several processes gives each its part of every batch, see `SharedBatches`.

    Args:
        dataset: what is loaded.
        batch_size: items of a step over all processes together.
        shuffle: draw a new order every epoch.
        seed: of the orders of several processes; alone, the order is drawn as torch does.
        options: of MONAI's loader.
    """

    def __init__(
        self, dataset: Dataset[Any], *, batch_size: int, shuffle: bool = False, seed: int = 0, **options: Any
    ) -> None:
        how: dict[str, Any] = {"batch_size": batch_size, "shuffle": shuffle}
        if idist.get_world_size() > 1:
            how = {"batch_sampler": SharedBatches(cast(Sized, dataset), seed=seed, **how)}
        super().__init__(dataset, **how, **options)
