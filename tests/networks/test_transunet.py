import pytest
import torch
from tests.networks.contract import NetworkContract

from breastkit.inference import Predictor
from breastkit.networks import AnySize, TransUNet, preset
from breastkit.networks.transunet import SpelledOutGroupNorm, StandardizedConv


def small(in_channels=1, **options):
    sizes = {"width": 4, "units": (1, 1, 1), "hidden": 16, "layers": 1, "heads": 2, "perceptron": 32}
    return TransUNet(in_channels=in_channels, bridge=8, decoder=(8, 8, 4, 4), image_size=32, **{**sizes, **options})


class TestTransUNet(NetworkContract):
    def build(self, in_channels=1):
        return AnySize(small(in_channels), multiple=16)


def test_reference_has_the_published_size():
    with torch.device("meta"):
        network = TransUNet(image_size=224)
        output = network.eval()(torch.zeros(1, 3, 224, 224))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert parameters == pytest.approx(105.3e6, rel=2e-3)
    assert network.positions.shape == (1, 768, 14, 14)
    assert output.shape == (1, 1, 224, 224)


def test_skips_come_from_a_half_a_quarter_and_an_eighth():
    with torch.device("meta"):
        network = TransUNet(image_size=224)
    inputs = [stage[0].in_channels for stage in network.decoder]
    assert inputs == [512 + 512, 256 + 256, 128 + 64, 64]


def test_positions_are_learnt_and_interpolated_for_other_sizes():
    network = small().eval()
    with torch.no_grad():
        network.positions.normal_()
        image = torch.zeros(1, 1, 32, 32)
        without = small().eval()
        without.load_state_dict({**network.state_dict(), "positions": torch.zeros_like(network.positions)})
        assert not torch.allclose(network(image), without(image))
        assert network(torch.zeros(1, 1, 64, 48)).shape == (1, 1, 64, 48)


def test_every_place_is_seen_from_every_other():
    """What makes it a transformer: a far corner answers to a pixel that no convolution of this depth reaches."""
    torch.manual_seed(0)
    network = small().eval()
    image = torch.randn(1, 1, 256, 256).requires_grad_()
    network(image)[0, 0, -1, -1].backward()
    assert image.grad[0, :, :16, :16].abs().max() > 0


def test_standardized_filters_do_not_answer_to_a_constant():
    convolution = StandardizedConv(2, 3, 3, bias=False)
    inside = convolution(torch.full((1, 2, 5, 5), 7.0))
    torch.testing.assert_close(inside, torch.zeros_like(inside), atol=1e-4, rtol=0)


def test_group_norm_is_torchs():
    torch.manual_seed(0)
    norm, maps = SpelledOutGroupNorm(2, 6, eps=1e-5), 3 + torch.randn(2, 6, 5, 7)
    torch.nn.init.normal_(norm.weight)
    expected = torch.nn.functional.group_norm(maps, 2, norm.weight, norm.bias, norm.eps)
    torch.testing.assert_close(norm(maps), expected)


def test_openvino_computes_the_compact_network():
    """With torch's group norm this crashed the process, which an export through ONNX did not show."""
    pytest.importorskip("openvino")
    network = preset("transunet_small").eval()
    slices = torch.rand(1, 3, 64, 64, 2)
    exact, fast = (Predictor(backend=backend)(slices, network) for backend in ("torch", "openvino"))
    torch.testing.assert_close(fast, exact, rtol=1e-3, atol=1e-3)
