"""What becomes of a bundle's shipped weights outside of it: TorchScript, ONNX and OpenVINO, by MONAI's own commands."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export, onnx_export
from monai.data import load_net_with_metadata
from torch import nn

from breastkit.training import load_weights

ROOT = Path(__file__).parents[2]
# What MONAI names the two in an exported network.
NAMES = {"input_names": ["image"], "output_names": ["pred"]}


@dataclass(frozen=True)
class Shipped:
    """A bundle's network with its weights, and what it makes of two inputs: one of the metadata's shape, two others."""

    network: nn.Module
    metadata: dict[str, Any]
    other_size: tuple[int, int]

    @cached_property
    def inputs(self) -> list[torch.Tensor]:
        image = self.metadata["network_data_format"]["inputs"]["image"]
        generator = torch.Generator().manual_seed(0)
        shapes = [(1, image["num_channels"], *image["spatial_shape"]), (2, image["num_channels"], *self.other_size)]
        return [torch.randn(shape, generator=generator) for shape in shapes]

    @cached_property
    def outputs(self) -> list[np.ndarray]:
        with torch.no_grad():
            return [self.network(image).numpy() for image in self.inputs]

    @property
    def free_axes(self) -> dict[str, list[int]]:
        """Axes of an exported network that are to take other lengths."""
        return {"image": [0, 2, 3], "pred": [0, *range(2, self.outputs[0].ndim)]}

    def check(self, *answers: Any) -> None:
        """Compares what an exported network makes of the inputs."""
        for answer, expected in zip(answers, self.outputs[: len(answers)], strict=True):
            np.testing.assert_allclose(np.asarray(answer), expected, rtol=1e-4, atol=1e-4)


class ExportContract:
    """The contract. `other_size` is a size of images, besides the metadata's, that the network takes."""

    bundle: ClassVar[str]
    other_size: ClassVar[tuple[int, int]] = (52, 75)
    # False for a bundle whose training is still to be done.
    ships_weights = True

    @property
    def root(self) -> Path:
        return ROOT / "bundles" / self.bundle

    def config(self, name: str) -> str:
        return str(self.root / "configs" / f"{name}.json")

    @property
    def export_arguments(self) -> dict[str, str]:
        """Arguments as the model zoo's CI gives them."""
        files = {"ckpt_file": str(self.root / "models/model.pt"), "config_file": self.config("inference")}
        files |= {"meta_file": self.config("metadata"), "bundle_root": str(self.root)}
        return {"net_id": "network_def", **files}

    @pytest.fixture(scope="class")
    def shipped(self) -> Shipped:
        if not self.ships_weights:
            pytest.skip("no weights ship yet")
        parser = ConfigParser()
        parser.read_config(self.config("inference"))
        parser["bundle_root"] = str(self.root)
        network = parser.get_parsed_content("network_def").eval()
        load_weights(self.root / "models/model.pt", network)
        metadata = json.loads(Path(self.config("metadata")).read_text(encoding="utf-8"))
        return Shipped(network, metadata, self.other_size)

    def test_torchscript(self, shipped, tmp_path):
        """Without an option, as the model zoo's CI does it: scripted, metadata and config packed in."""
        ckpt_export(filepath=str(tmp_path / "model.ts"), **self.export_arguments)
        script, metadata, extra = load_net_with_metadata(tmp_path / "model.ts", more_extra_files=("inference.json",))
        assert metadata["version"] == shipped.metadata["version"]
        assert json.loads(extra["inference.json"]) == json.loads(Path(self.config("inference")).read_text())
        with torch.no_grad():
            shipped.check(*map(script.eval(), shipped.inputs))

    def test_onnx(self, shipped, tmp_path):
        """Without an option it takes the metadata's shape."""
        onnxruntime = pytest.importorskip("onnxruntime")
        onnx_export(filepath=str(tmp_path / "model.onnx"), **self.export_arguments)
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
        shipped.check(session.run(None, {session.get_inputs()[0].name: shipped.inputs[0].numpy()})[0])

    def test_onnx_of_any_size_and_openvino(self, shipped, tmp_path, monkeypatch):
        # As breastkit imports it: otherwise OpenVINO reports every conversion over the network.
        monkeypatch.setitem(sys.modules, "openvino_telemetry", None)
        onnxruntime, openvino = pytest.importorskip("onnxruntime"), pytest.importorskip("openvino")
        path = tmp_path / "model.onnx"
        options = {**NAMES, "dynamic_axes": shipped.free_axes, "dynamo": False}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            onnx_export(filepath=str(path), use_trace=True, converter_kwargs=options, **self.export_arguments)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        images = [image.numpy() for image in shipped.inputs]
        shipped.check(*(session.run(None, {"image": image})[0] for image in images))
        shipped.check(*(compiled([image])[0] for image in images))
