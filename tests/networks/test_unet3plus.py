import pytest
import torch
from monai.losses import DiceCELoss
from tests.networks.contract import NetworkContract

from breastkit.networks import AnySize, UNet3Plus
from breastkit.networks.unet3plus import both_logit
from breastkit.training import HeadsLoss

SMALL = {"channels": (4, 8, 8, 12, 16), "skip_channels": 4}


class TestUNet3Plus(NetworkContract):
    def build(self, in_channels=1):
        return AnySize(UNet3Plus(in_channels=in_channels, **SMALL), multiple=16)


def test_reference_has_the_published_size():
    with torch.device("meta"):
        network = UNet3Plus(in_channels=3)
        outputs = network(torch.zeros(1, 3, 64, 64))
    # 26.97 million without side outputs, of which there are four, and the guiding module.
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(27.0e6, rel=2e-3)
    assert [tuple(output.shape) for output in outputs] == [(1, 1, 64, 64)] * 5 + [(1, 1, 1, 1)]


def test_every_stage_sees_five_scales():
    with torch.device("meta"):
        network = UNet3Plus(in_channels=3)
    seen = [[branch[0].in_channels for branch in stage.branches] for stage in network.decoder]
    assert seen == [
        [64, 320, 320, 320, 1024],
        [64, 128, 320, 320, 1024],
        [64, 128, 256, 320, 1024],
        [64, 128, 256, 512, 1024],
    ]


def test_all_outputs_are_judged_at_any_size():
    torch.manual_seed(0)
    network = AnySize(UNet3Plus(**SMALL), multiple=16).train()
    truth = torch.zeros(2, 1, 37, 29)
    truth[0, :, 5:9, 5:9] = 1
    outputs = network(torch.randn(2, 1, 37, 29))
    loss = HeadsLoss(DiceCELoss(sigmoid=True))(outputs, truth)
    loss.backward()
    assert [tuple(output.shape[2:]) for output in outputs] == [(37, 29)] * 5 + [(1, 1)]
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.network.guide.parameters())
    assert all(head.weight.grad.abs().sum() > 0 for head in network.network.heads)


def test_an_image_said_to_hold_nothing_gets_an_empty_mask():
    network = UNet3Plus(**SMALL).eval()
    image = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        network.heads[0].bias.fill_(9.0)
        network.guide[1].bias.fill_(30.0)
        assert network(image).min() > 0
        network.guide[1].bias.fill_(-30.0)
        assert network(image).max() < 0


def test_logit_of_a_product():
    first, second = torch.tensor([0.0, 2.0, -300.0, 300.0]), torch.tensor([0.0, -1.0, 300.0, 300.0])
    product = (first.double().sigmoid() * second.double().sigmoid())[:2]
    torch.testing.assert_close(both_logit(first, second)[:2], torch.logit(product).float())
    assert both_logit(first, second)[2].item() == pytest.approx(-300)
    assert both_logit(first, second)[3].item() > 200
