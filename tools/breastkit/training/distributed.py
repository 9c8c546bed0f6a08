"""Several processes that train one network: who is who, how batches are shared, how batch norm stays common."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sized

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from torch import nn
from torch.utils.data import Sampler

from breastkit.errors import BreastkitError
from breastkit.seeding import generator


def rank() -> int:
    """Returns the number of this process among those that train together, 0 when it is alone."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """Returns how many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_main() -> bool:
    """Tells whether this process is the one that writes files and logs."""
    return rank() == 0


def wait_for_all() -> None:
    """Waits until every process has come here."""
    if world_size() > 1:
        dist.barrier()


def sum_over_processes(tensor: torch.Tensor) -> torch.Tensor:
    """Adds a tensor up over all processes, in place, and returns it."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def start_processes() -> None:
    """Joins the processes torchrun started: NCCL with GPUs, gloo without; once, however often it is called.

    Raises:
        BreastkitError: if torchrun did not start this process.
    """
    if dist.is_initialized():
        return
    if "LOCAL_RANK" not in os.environ:
        raise BreastkitError(
            "multi_gpu_train.json needs torchrun; start it with 'torchrun --nproc_per_node N -m monai.bundle run …'."
        )
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def stop_processes() -> None:
    """Leaves the processes torchrun started."""
    if dist.is_initialized():
        dist.destroy_process_group()


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
        if self.length < world_size() or batch_size < world_size():
            raise BreastkitError(
                f"{self.length} slices in batches of {batch_size} cannot be shared by {world_size()} processes; "
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
            yield order[start:end][rank() :: world_size()]

    def _starts(self) -> list[int]:
        starts = list(range(0, self.length, self.batch_size))
        if len(starts) > 1 and self.length - starts[-1] < world_size():
            starts.pop()
        return starts


class AverageBuffers:
    """Handler that gives all processes the mean of their batch norm statistics after every epoch.

    Each process sees other images, so its running statistics differ; without this the processes would end with, and
    validate, different networks.

    Args:
        network: the network itself, not its distributed wrapper.
    """

    def __init__(self, network: nn.Module):
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Attaches to a trainer; must stand before the validation."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Averages the floating-point buffers; counters are the same everywhere already."""
        for buffer in self.network.buffers():
            if buffer.is_floating_point():
                sum_over_processes(buffer).div_(world_size())
