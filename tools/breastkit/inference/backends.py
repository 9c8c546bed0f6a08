"""What runs a network over slices: torch as it is, or OpenVINO on a converted copy.

Both write their results into one output tensor, so that a volume's worth of logits exists once. Converted models lie
under the cache folder, by a hash of the weights and everything else that shapes the graph, and beside each what it was
compiled to, by precision, threads and processor.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import io
import os
import shutil
import sys
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from breastkit.atomic import atomic_folder, atomic_path
from breastkit.errors import BreastkitError
from breastkit.logs import get_logger

if TYPE_CHECKING:
    import openvino

_LOGGER = get_logger(__name__)

# More pixels than this at once gain nothing on a CPU and cost memory: 512x512 slices go one by one, 256x256 by fours.
_CPU_PIXELS = 512 * 512
_MODELS_ON_DISK = 32
# All networks that a server of six bundles and their folds goes back and forth between, some at a few sizes.
_MODELS_IN_MEMORY = 12


class Backend(StrEnum):
    """Who computes the network."""

    AUTO = "auto"
    TORCH = "torch"
    OPENVINO = "openvino"


class Precision(StrEnum):
    """In which numbers the network is computed: `AUTO` is bf16 where the device computes it natively, else f32."""

    AUTO = "auto"
    F32 = "f32"
    BF16 = "bf16"


class ConversionError(Exception):
    """OpenVINO is not installed or cannot take the network."""


def cache_folder() -> Path:
    """Returns where converted models are kept: ``BREASTKIT_CACHE``, else ``breastkit`` in the user's cache folder."""
    own = os.environ.get("BREASTKIT_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "breastkit"


def run_torch(
    network: nn.Module,
    slices: torch.Tensor,
    chosen: torch.Tensor,
    *,
    batch_size: int,
    precision: Precision = Precision.F32,
    advance: Callable[[int], object] = lambda count: None,
) -> torch.Tensor:
    """Runs a network over slices in batches on the slices' own device.

    Args:
        network: takes (batch, channels, rows, columns), gives logits of the same rows and columns.
        slices: (slices, channels, rows, columns).
        chosen: indices of the slices to run; the other slices' outputs are left undefined.
        batch_size: slices at a time; fewer of large ones on a CPU.
        precision: numbers to compute in.
        advance: is told after each batch how many slices are done.

    Returns:
        Float32 logits (slices, output channels, rows, columns).
    """
    device = slices.device
    if device.type == "cpu":
        batch_size = min(batch_size, max(1, _CPU_PIXELS // slices[0, 0].numel()))
    if precision is Precision.AUTO:
        precision = Precision.BF16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else Precision.F32
    output = torch.empty(0)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision is Precision.BF16):
        for batch in chosen.split(batch_size):
            logits = network(slices[batch])
            if not len(output):
                # The network alone tells how many channels it gives.
                output = torch.empty((len(slices), *logits.shape[1:]), dtype=torch.float32, device=device)
            output[batch] = logits.float()
            advance(len(batch))
    return output


class OpenVINOModel:
    """A network converted for one slice shape and compiled for this machine's CPU.

    Slices are computed one by one, several at a time on separate cores: on a CPU faster than batches, in less memory.

    Args:
        graph: the converted network.
        precision: numbers to compute in; `Precision.AUTO` takes bf16 where the CPU has it.
        threads: cores to use.
        folder: where compiled models are kept for the next process; None keeps none.
    """

    def __init__(
        self, graph: openvino.Model, *, precision: Precision, threads: int, folder: Path | None = None
    ) -> None:
        if precision is Precision.AUTO:
            precision = Precision.BF16 if _cpu_has_bf16() else Precision.F32
        self._graph, self._folder = graph, folder
        self._options = {"INFERENCE_PRECISION_HINT": precision.value, "INFERENCE_NUM_THREADS": threads}
        self._queues: dict[str, openvino.AsyncInferQueue] = {}
        self._busy = threading.Lock()

    def __call__(
        self, slices: torch.Tensor, chosen: torch.Tensor, *, advance: Callable[[int], object] = lambda count: None
    ) -> torch.Tensor:
        """Runs the chosen slices; arguments and result as of `run_torch`, the result on the CPU."""
        arrays = slices.detach().cpu().numpy()
        with self._busy:
            queue = self._queue("LATENCY" if len(chosen) == 1 else "THROUGHPUT")
            output = torch.empty((len(slices), *self._graph.output(0).shape[1:]), dtype=torch.float32)
            results = output.numpy()

            def keep(request: openvino.InferRequest, index: int) -> None:
                results[index] = request.get_output_tensor(0).data[0]

            queue.set_callback(keep)
            for index in chosen.tolist():
                # The queue waits for a free request, so progress follows the work.
                queue.start_async({0: np.ascontiguousarray(arrays[index : index + 1], dtype=np.float32)}, index)
                advance(1)
            queue.wait_all()
        return output

    def _queue(self, hint: str) -> openvino.AsyncInferQueue:
        if hint not in self._queues:
            compiled = self._compiled({**self._options, "PERFORMANCE_HINT": hint})
            self._queues[hint] = _openvino().AsyncInferQueue(compiled)
        return self._queues[hint]

    def _compiled(self, options: dict[str, str | int]) -> openvino.CompiledModel:
        if self._folder is None:
            return _core().compile_model(self._graph, "CPU", options)
        kept = self._folder / f"{hashlib.sha256(repr((_processor(), options)).encode()).hexdigest()[:16]}.blob"
        try:
            return _core().import_model(io.BytesIO(kept.read_bytes()), "CPU", options)
        except (OSError, RuntimeError):
            # Not there yet, or damaged: made anew.
            compiled = _core().compile_model(self._graph, "CPU", options)
        try:
            with atomic_path(kept) as temporary:
                temporary.write_bytes(compiled.export_model().getbuffer())
        except (BreastkitError, OSError) as error:
            _LOGGER.info("The compiled model was not kept for the next time: %s", error)
        return compiled


_in_memory: OrderedDict[tuple[str, Precision, int], OpenVINOModel] = OrderedDict()
_in_memory_lock = threading.Lock()


def openvino_model(
    network: nn.Module, shape: tuple[int, ...], *, precision: Precision = Precision.F32
) -> OpenVINOModel:
    """Returns a network's OpenVINO model, out of memory or the cache folder where it was converted before.

    Args:
        network: in evaluation mode, of float32 weights.
        shape: (channels, rows, columns) of a slice.
        precision: numbers to compute in.

    Raises:
        ConversionError: if OpenVINO is not installed or cannot take the network.
    """
    try:
        version = _openvino().__version__
    except ImportError as error:
        raise ConversionError("OpenVINO is not installed; pip install 'breastkit[openvino]' adds it") from error
    identity = network_hash(network, shape, version)
    threads = torch.get_num_threads()
    key = (identity, precision, threads)
    with _in_memory_lock:
        if key not in _in_memory:
            graph, folder = _graph(network, shape, identity)
            _in_memory[key] = OpenVINOModel(graph, precision=precision, threads=threads, folder=folder)
        _in_memory.move_to_end(key)
        while len(_in_memory) > _MODELS_IN_MEMORY:
            _in_memory.popitem(last=False)
        return _in_memory[key]


def network_hash(network: nn.Module, *facts: object) -> str:
    """Returns a hash of a network's weights, its modules with their settings, and further facts."""
    digest = hashlib.sha256(repr(facts).encode())
    for name, module in network.named_modules():
        settings = {
            key: value
            for key, value in sorted(vars(module).items())
            if isinstance(value, (bool, int, float, str, tuple)) and key != "training"
        }
        digest.update(f"{name} {type(module).__module__}.{type(module).__qualname__} {settings}".encode())
    for name, tensor in network.state_dict().items():
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _graph(network: nn.Module, shape: tuple[int, ...], identity: str) -> tuple[openvino.Model, Path | None]:
    """Returns a network's converted model and the folder it is kept in, where it could be kept."""
    folder = cache_folder() / "openvino" / identity[:32]
    if (folder / "model.xml").is_file():
        try:
            graph = _core().read_model(folder / "model.xml")
            os.utime(folder)
            return graph, folder
        except (RuntimeError, OSError):
            # A damaged cache entry is made anew.
            shutil.rmtree(folder, ignore_errors=True)
    graph = _convert(network, shape)
    return graph, folder if _keep(graph, folder) else None


def _convert(network: nn.Module, shape: tuple[int, ...]) -> openvino.Model:
    # Tracing runs hooks and sets flags; the user's network stays as it is.
    traced = copy.deepcopy(network).cpu().eval()
    example = torch.zeros((1, *shape))
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            graph = _openvino().convert_model(traced, example_input=example)
            graph.reshape([1, *shape])
    except Exception as error:  # the converter raises whatever its many parts raise
        raise ConversionError(f"OpenVINO cannot take {type(network).__name__}: {str(error).splitlines()[0]}") from error
    if len(graph.outputs) != 1 or graph.output(0).partial_shape.is_dynamic:
        raise ConversionError(f"{type(network).__name__} does not give one output of a fixed shape")
    return graph


def _keep(graph: openvino.Model, folder: Path) -> bool:
    """Saves a converted model for the next time and tells whether it could; if not, it is converted again then."""
    try:
        with atomic_folder(folder) as temporary:
            _openvino().save_model(graph, temporary / "model.xml", compress_to_fp16=False)
        kept = sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in kept[_MODELS_ON_DISK:]:
            shutil.rmtree(old, ignore_errors=True)
    except (BreastkitError, OSError) as error:
        _LOGGER.info("The converted model was not kept for the next time: %s", error)
        return False
    return True


def _openvino() -> ModuleType:
    """Imports OpenVINO without its telemetry, which would report every conversion over the network."""
    # None, which the types leave out, makes its import fail.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


@cache
def _core() -> openvino.Core:
    return _openvino().Core()


@cache
def _processor() -> str:
    return str(_core().get_property("CPU", "FULL_DEVICE_NAME"))


@cache
def _cpu_has_bf16() -> bool:
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
