import numpy as np
import pytest
import torch
from monai.networks.nets import UNet
from torch import nn

from breastkit.active_learning import deepest_features


def test_the_deepest_maps_of_a_network_averaged_over_the_image():
    torch.manual_seed(0)
    network = UNet(2, 1, 1, channels=(4, 8, 12), strides=(2, 2)).eval()
    images = torch.rand(3, 1, 32, 48)
    output, features = deepest_features(network, images)
    # MONAI's U-Net puts what comes down beside what the bottom makes of it: 8 and 12 channels.
    assert features.shape == (3, 20)
    torch.testing.assert_close(output, network(images))
    # No hook stays behind.
    assert not any(module._forward_hooks for module in network.modules())


def test_the_same_image_has_the_same_features_and_another_others():
    torch.manual_seed(0)
    network = UNet(2, 1, 1, channels=(4, 8), strides=(2,)).eval()
    one, other = torch.rand(2, 1, 1, 16, 16)
    found = deepest_features(network, torch.cat([one, other, one]))[1].numpy()
    np.testing.assert_allclose(found[0], found[2], rtol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-4


def test_what_is_pooled_to_one_pixel_is_no_feature_map():
    class Squeezed(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.pool, self.up = nn.AvgPool2d(4), nn.AdaptiveAvgPool2d(1), nn.Upsample(scale_factor=4)

        def forward(self, image):
            deep = self.down(image)
            return self.up(deep) + self.pool(deep)

    image = torch.arange(64.0).reshape(1, 1, 8, 8)
    _, features = deepest_features(Squeezed(), image)
    torch.testing.assert_close(features, torch.tensor([[31.5]]))


def test_a_network_without_an_encoder_is_refused():
    with pytest.raises(ValueError, match="no feature map smaller"):
        deepest_features(nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 8, 8))
