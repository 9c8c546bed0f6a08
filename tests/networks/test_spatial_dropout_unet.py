from pathlib import Path

import pytest
import torch
from monai.losses import DiceLoss
from tests.networks.contract import NetworkContract
from torch import nn

from breastkit.networks import AnySize, SpatialDropoutUNet, from_file

NETWORKS = Path(__file__).parents[2] / "bundles/breast_mri_tissue_segmentation/configs/networks.json"


class TestSpatialDropoutUNet(NetworkContract):
    def build(self, in_channels=1):
        network = SpatialDropoutUNet(
            in_channels=in_channels, encoder=(4, 8, 8, 16), bottleneck=16, decoder=(8, 8, 4, 4)
        )
        return AnySize(network, multiple=16)


def test_reference_halves_resolution_from_512_to_32():
    network = from_file(NETWORKS, "reference").eval()
    sizes = []
    for stage in [*network.network.encoder, network.network.bottleneck]:
        stage.register_forward_hook(lambda _module, _inputs, output: sizes.append(tuple(output.shape[1:])))
    with torch.no_grad():
        output = network(torch.zeros(1, 1, 512, 512))
    assert sizes == [(64, 512, 512), (128, 256, 256), (256, 128, 128), (512, 64, 64), (512, 32, 32)]
    assert output.shape == (1, 1, 512, 512)


def test_reference_takes_one_optimiser_step():
    torch.manual_seed(0)
    network = from_file(NETWORKS, "reference").train()
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    loss = DiceLoss(sigmoid=True)(network(torch.randn(1, 1, 64, 64)), torch.ones(1, 1, 64, 64))
    loss.backward()
    optimizer.step()
    unchanged = [name for name, parameter in network.named_parameters() if torch.equal(parameter, before[name])]
    assert torch.isfinite(loss)
    assert not unchanged


@pytest.mark.parametrize("name", ["compact", "reference"])
def test_dropout_is_everywhere_and_strongest_at_the_bottleneck(name):
    network = from_file(NETWORKS, name).network
    stages = [*network.encoder, *network.decoder]
    shares = [module.p for stage in stages for module in stage if isinstance(module, nn.Dropout2d)]
    bottleneck = next(module.p for module in network.bottleneck if isinstance(module, nn.Dropout2d))
    assert len(shares) == len(stages)
    assert 0 < max(shares) < bottleneck


def test_stages_must_pair():
    with pytest.raises(ValueError, match="as many stages, got 2 and 1"):
        SpatialDropoutUNet(encoder=(4, 8), decoder=(4,))
