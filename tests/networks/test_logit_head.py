import torch
from monai.networks.nets import UNet
from tests.networks.contract import NetworkContract

from breastkit.networks import AnySize, LogitHead


class TestLogitHead(NetworkContract):
    def build(self, in_channels=1):
        unet = UNet(
            spatial_dims=2,
            in_channels=in_channels,
            out_channels=4,
            channels=(4, 8, 16),
            strides=(2, 2),
            num_res_units=2,
            norm="BATCH",
            act="RELU",
        )
        return AnySize(LogitHead(unet, features=4), multiple=4)


def test_logits_are_not_bound_to_one_scale():
    torch.manual_seed(0)
    head = LogitHead(torch.nn.Identity(), features=3, out_channels=2)
    features = torch.randn(1, 3, 5, 6)
    assert head(features).shape == (1, 2, 5, 6)
    torch.testing.assert_close(head(-features.abs()), head(torch.zeros_like(features)))
