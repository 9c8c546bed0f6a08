"""The architectures of the lesion and tumour bundles, out of their `networks.json`."""

from pathlib import Path
from typing import ClassVar

import pytest
import torch
from segmentation_models_pytorch import Unet
from tests.networks.contract import NetworkContract
from torch import nn

from breastkit.networks import from_file, names_in
from breastkit.networks.encoder_decoder import EncoderDecoder

BUNDLES = Path(__file__).parents[2] / "bundles"
NETWORKS = BUNDLES / "breast_us_lesion_segmentation/configs/networks.json"


class InFile(NetworkContract):
    name: ClassVar[str]

    def build(self, in_channels=1):
        return from_file(NETWORKS, self.name)

    def test_learns_from_a_single_image(self):
        torch.manual_seed(0)
        network = self.build().train()
        sum(output.sum() for output in self.outputs(network(self.image()))).backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


@pytest.mark.slow
class TestUnetSmall(InFile):
    name = "unet_small"


class TestUnetPlusPlusSmall(InFile):
    name = "unetplusplus_small"


class TestDeepLabV3Small(InFile):
    name = "deeplabv3_small"


@pytest.mark.slow
class TestDeepLabV3PlusSmall(InFile):
    name = "deeplabv3plus_small"


class TestAttentionUnetSmall(InFile):
    name = "attention_unet_small"
    channels = (1,)


@pytest.mark.slow
class TestUnet(InFile):
    name = "unet"


@pytest.mark.slow
class TestUnetPlusPlus(InFile):
    name = "unetplusplus"


@pytest.mark.slow
class TestDeepLabV3(InFile):
    name = "deeplabv3"


@pytest.mark.slow
class TestDeepLabV3Plus(InFile):
    name = "deeplabv3plus"


@pytest.mark.slow
class TestAttentionUnet(InFile):
    name = "attention_unet"
    channels = (1,)


@pytest.mark.slow
class TestLight(InFile):
    name = "light"
    channels = (1,)


class TestEfficientUnet(InFile):
    name = "efficient_unet"


@pytest.mark.slow
class TestUnet3PlusSmall(InFile):
    name = "unet3plus_small"
    channels = (1,)


@pytest.mark.slow
class TestTransUnetSmall(InFile):
    name = "transunet_small"


@pytest.mark.slow
class TestUnet3Plus(InFile):
    name = "unet3plus"
    channels = (1,)


@pytest.mark.slow
class TestTransUnet(InFile):
    name = "transunet"


@pytest.mark.parametrize("name", ["unet", "unetplusplus", "deeplabv3", "deeplabv3plus"])
def test_reference_has_a_resnet34_encoder(name):
    with torch.device("meta"):
        encoder = from_file(NETWORKS, name).network.encoder
    assert encoder.name == "resnet34"
    assert [len(encoder.model[f"layer{number}"]) for number in (1, 2, 3, 4)] == [3, 4, 6, 3]


def test_both_bundles_compare_the_same_networks():
    assert (BUNDLES / "brain_mri_tumor_segmentation/configs/networks.json").read_text() == NETWORKS.read_text()


def test_every_network_takes_the_contract():
    assert {case.name for case in InFile.__subclasses__()} == set(names_in(NETWORKS))


def test_stages_nothing_looks_at_are_left_out():
    wrapped = EncoderDecoder(
        Unet("tu-tf_efficientnet_lite0", encoder_depth=4, encoder_weights=None, decoder_channels=(8, 8, 8, 8))
    )
    whole = Unet("tu-tf_efficientnet_lite0", encoder_depth=4, encoder_weights=None, decoder_channels=(8, 8, 8, 8))
    assert len(wrapped.encoder.model.blocks) == 5
    assert len(whole.encoder.model.blocks) == 7
    whole.load_state_dict(wrapped.network.state_dict(), strict=False)
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(wrapped.network.eval()(image), whole.eval()(image))


def test_gray_is_given_to_all_channels():
    network = from_file(NETWORKS, "unet_small").eval()
    image = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(image), network(image.repeat(1, 3, 1, 1)))


def test_norm_of_a_single_value_uses_running_statistics():
    norm = EncoderDecoder(nn.Sequential(nn.BatchNorm2d(2))).network[0].train()
    norm.running_mean.copy_(torch.tensor([1.0, 2.0]))
    single = torch.tensor([3.0, 2.0]).reshape(1, 2, 1, 1)
    torch.testing.assert_close(norm(single), single - torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1), rtol=1e-4, atol=0)
    assert norm.training
    several = torch.randn(4, 2, 3, 3)
    torch.testing.assert_close(norm(several), nn.BatchNorm2d(2).train()(several))
