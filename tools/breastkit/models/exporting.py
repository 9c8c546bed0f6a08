"""A bundle's network as TorchScript, ONNX and OpenVINO, each held against what torch computes."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.bundle import ConfigParser, ckpt_export, onnx_export

from breastkit.atomic import write_json
from breastkit.bundle import Bundle
from breastkit.errors import BreastkitError
from breastkit.weights import load_weights, sha256_of

TORCHSCRIPT, ONNX, OPENVINO, PARITY = "model.ts", "model.onnx", "model.xml", "parity.json"
# Of what is exported; OpenVINO keeps its weights apart.
_SUFFIXES = (".ts", ".onnx", ".xml", ".bin")
# As a share of what torch computes, and where that is near nothing.
_TOLERANCE = 1e-4
_SEED = 0

Array = npt.NDArray[np.float32]


def export(bundle: Bundle) -> Path:
    """Writes the exports of a bundle's default weights beside them, and how far each is from torch.

    The input is noise of the metadata's shape: networks take z-scored images.

    Args:
        bundle: whose folder is written into.

    Returns:
        ``models/parity.json``.

    Raises:
        BreastkitError: if the packages are missing that this takes, or an export computes something else.
    """
    folder, weights = bundle.folder / "models", bundle.shipped_weights
    onnxruntime, openvino = _package("onnxruntime"), _package("openvino")
    image = bundle.metadata["network_data_format"]["inputs"]["image"]
    shape = (1, image["num_channels"], *image["spatial_shape"])
    example = torch.randn(shape, generator=torch.Generator().manual_seed(_SEED))
    expected = _of_torch(bundle, weights, example)
    with _quiet():
        _write_torchscript_and_onnx(bundle, weights, axes=expected.ndim)
        openvino.save_model(openvino.convert_model(str(folder / ONNX)), str(folder / OPENVINO), compress_to_fp16=False)
        session = onnxruntime.InferenceSession(folder / ONNX, providers=["CPUExecutionProvider"])
        compiled = openvino.Core().compile_model(str(folder / OPENVINO), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        answers = {
            TORCHSCRIPT: _of_torchscript(folder / TORCHSCRIPT, example),
            ONNX: session.run(None, {"image": example.numpy()})[0],
            OPENVINO: compiled([example.numpy()])[0],
        }
    differences = {name: _difference(name, answer, expected) for name, answer in answers.items()}
    facts = {
        "input": f"standard normal noise, torch.Generator of seed {_SEED}",
        "shape": list(shape),
        "largest_output": float(np.abs(expected).max()),
        "versions": {one.__name__: one.__version__ for one in (torch, onnxruntime, openvino)},
        "largest_difference": differences,
        "sha256": {path.name: sha256_of(path) for path in sorted(folder.glob("model.*")) if path.suffix in _SUFFIXES},
    }
    return write_json(folder / PARITY, facts)


def _write_torchscript_and_onnx(bundle: Bundle, weights: Path, *, axes: int) -> None:
    """Exports as the README's commands do it."""
    configs = bundle.folder / "configs"
    arguments: dict[str, Any] = {
        "net_id": "network_def",
        "ckpt_file": str(weights),
        "config_file": str(configs / "inference.json"),
        "meta_file": str(configs / "metadata.json"),
        "bundle_root": str(bundle.folder),
        "ckpt_path": str(weights),
    }
    ckpt_export(filepath=str(weights.with_name(TORCHSCRIPT)), **arguments)
    onnx_export(
        filepath=str(weights.with_name(ONNX)),
        use_trace=True,
        converter_kwargs={
            "dynamo": False,
            "input_names": ["image"],
            "output_names": ["pred"],
            "dynamic_axes": {"image": [0, 2, 3], "pred": [0, *range(2, axes)]},
        },
        **arguments,
    )


def _of_torch(bundle: Bundle, weights: Path, example: torch.Tensor) -> Array:
    parser = ConfigParser()
    parser.read_config(str(bundle.folder / "configs" / "inference.json"))
    parser.update({"bundle_root": str(bundle.folder), "ckpt_path": str(weights)})
    network = parser.get_parsed_content("network_def").eval()
    load_weights(weights, network)
    with torch.no_grad():
        answer: Array = network(example).numpy()
    return answer


def _of_torchscript(path: Path, example: torch.Tensor) -> Array:
    with torch.no_grad():
        answer: Array = torch.jit.load(path, map_location="cpu").eval()(example).numpy()
    return answer


def _difference(name: str, answer: Array, expected: Array) -> float:
    if answer.shape != expected.shape or not np.allclose(answer, expected, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise BreastkitError(
            f"{name} computes something else than the network of these weights does; nothing is packed, choose "
            "weights of an architecture that exports."
        )
    return float(np.abs(answer - expected).max())


def _package(name: str) -> ModuleType:
    # OpenVINO's telemetry would report every conversion over the network; None makes its import fail.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BreastkitError(f"{name} is not installed; pip install 'breastkit[openvino]' adds it.") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what MONAI and the tracer remark of every export out of the log."""
    loggers = [logging.getLogger(name) for name in ("monai.bundle.scripts", "py.warnings")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
