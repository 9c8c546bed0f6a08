"""What every network of the project promises; inherit `NetworkContract` and give `build`."""

from __future__ import annotations

import io
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import nn


class NetworkContract:
    """Contract of a segmentation network; `size` is small, `channels` are the input channels it must offer."""

    size = 32
    odd_size = (37, 29)
    channels = (1, 3)
    out_channels = 1

    def build(self, in_channels: int = 1) -> nn.Module:
        raise NotImplementedError

    @pytest.fixture
    def network(self) -> nn.Module:
        torch.manual_seed(0)
        network = self.build()
        self.settle(network)
        return network.eval()

    def settle(self, network: nn.Module) -> None:
        """Gives batch norm statistics of real inputs, so that outputs are not those of an untouched network."""
        network.train()
        with torch.no_grad():
            for _ in range(3):
                network(torch.randn(4, 1, self.size, self.size))

    def image(self, *size: int, batch: int = 1, channels: int = 1) -> torch.Tensor:
        return torch.randn(
            batch, channels, *(size or (self.size, self.size)), generator=torch.Generator().manual_seed(1)
        )

    def outputs(self, output: torch.Tensor | list[torch.Tensor]) -> list[torch.Tensor]:
        """Returns what a network gives in training, where deep supervision makes it several maps, the finest first."""
        return output if isinstance(output, list) else [output]

    def test_every_parameter_learns(self):
        torch.manual_seed(0)
        network = self.build().train()
        outputs = self.outputs(network(self.image(batch=2)))
        sum(output.square().mean() for output in outputs).backward()
        assert outputs[0].shape == (2, self.out_channels, self.size, self.size)
        assert all(output.dtype == torch.float32 for output in outputs)
        still = [name for name, parameter in network.named_parameters() if parameter.grad is None]
        assert not still
        assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())

    def test_an_optimiser_step_lowers_the_loss(self):
        torch.manual_seed(0)
        network = self.build().train()
        # Dropout would make two losses of one network differ by themselves.
        for module in network.modules():
            if isinstance(module, nn.Dropout | nn.Dropout2d):
                module.p = 0.0
        image, target = self.image(batch=2), (self.image(batch=2) > 0).float()
        optimizer = torch.optim.Adam(network.parameters(), 1e-3)
        losses = []
        for _ in range(5):
            logits = self.outputs(network(image))[0][:, :1]
            loss = nn.functional.binary_cross_entropy_with_logits(logits, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0]

    def test_channels(self):
        for channels in self.channels:
            network = self.build(channels).eval()
            with torch.no_grad():
                assert network(self.image(channels=channels)).shape == (1, self.out_channels, self.size, self.size)

    def test_odd_sizes_are_padded_and_cropped(self, network):
        image = self.image(*self.odd_size)
        with torch.no_grad():
            output = network(image)
        assert output.shape == (1, self.out_channels, *self.odd_size)
        assert torch.isfinite(output).all()

    def test_batch_of_one_equals_its_place_in_a_batch(self, network):
        batch = self.image(batch=3)
        with torch.no_grad():
            together, alone = network(batch), network(batch[1:2])
        torch.testing.assert_close(alone[0], together[1], rtol=1e-4, atol=1e-5)

    def test_weights_survive_a_file(self, network):
        file = io.BytesIO()
        torch.save(network.state_dict(), file)
        file.seek(0)
        copy = self.build().eval()
        copy.load_state_dict(torch.load(file, weights_only=True))
        with torch.no_grad():
            assert torch.equal(copy(self.image()), network(self.image()))

    @pytest.mark.parametrize("odd", [False, True])
    def test_torchscript_trace(self, network, odd):
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            traced = torch.jit.trace(network, self.image())
            image = self.image(*self.odd_size) if odd else self.image(batch=2)
            torch.testing.assert_close(traced(image), network(image), rtol=1e-4, atol=1e-5)

    def test_torchscript_script(self, network):
        """What MONAI's `ckpt_export` does; the network itself stays as it was and may be trained on."""
        images = (self.image(batch=2), self.image(*self.odd_size))
        modules = list(network.modules())
        file = io.BytesIO()
        with torch.no_grad():
            expected = [network(image) for image in images]
            torch.jit.save(torch.jit.script(network), file)
            file.seek(0)
            scripted = torch.jit.load(file)
            for image, output in zip(images, expected, strict=True):
                torch.testing.assert_close(scripted(image), output, rtol=1e-4, atol=1e-5)
        assert list(network.modules()) == modules

    def test_onnx_and_openvino(self, network, tmp_path, monkeypatch):
        # As breastkit imports it: otherwise OpenVINO reports every conversion over the network.
        monkeypatch.setitem(sys.modules, "openvino_telemetry", None)
        onnxruntime = pytest.importorskip("onnxruntime")
        openvino = pytest.importorskip("openvino")
        path = tmp_path / "network.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (self.image(),),
                path,
                input_names=["image"],
                output_names=["pred"],
                dynamic_axes={
                    "image": {0: "batch", 2: "rows", 3: "columns"},
                    "pred": {0: "batch", 2: "rows", 3: "columns"},
                },
                dynamo=False,
            )
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        for image in (self.image(batch=2), self.image(*self.odd_size)):
            with torch.no_grad():
                expected = network(image).numpy()
            np.testing.assert_allclose(session.run(None, {"image": image.numpy()})[0], expected, rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(compiled([image.numpy()])[0], expected, rtol=1e-3, atol=1e-4)
