import torch
from segmentation_models_pytorch import Unet
from torch import nn

from breastkit.networks import preset
from breastkit.networks.encoder_decoder import EncoderDecoder


def test_stages_nothing_looks_at_are_left_out():
    wrapped = EncoderDecoder(
        Unet("tu-tf_efficientnet_lite0", encoder_depth=4, encoder_weights=None, decoder_channels=(8, 8, 8, 8))
    )
    whole = Unet("tu-tf_efficientnet_lite0", encoder_depth=4, encoder_weights=None, decoder_channels=(8, 8, 8, 8))
    assert len(wrapped.network.encoder.model.blocks) == 5
    assert len(whole.encoder.model.blocks) == 7
    whole.load_state_dict(wrapped.network.state_dict(), strict=False)
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(wrapped.network.eval()(image), whole.eval()(image))


def test_gray_is_given_to_all_channels():
    network = preset("unet_small").eval()
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
