"""The network of several tasks, as the segmentation bundle of ultrasound offers it."""

from pathlib import Path

import pytest
import torch
from tests.networks.contract import NetworkContract

from breastkit.errors import BreastkitError
from breastkit.networks import from_file
from breastkit.weights import load_weights, save_weights

NETWORKS = Path(__file__).parents[2] / "bundles/breast_us_lesion_segmentation/configs/networks.json"


class TestMultiTask(NetworkContract):
    size = 64
    channels = (1,)
    out_channels = 3

    def build(self, in_channels=1):
        return from_file(NETWORKS, "multitask")


def test_the_heads_say_one_thing_of_the_whole_picture():
    network = from_file(NETWORKS, "multitask").eval()
    with torch.no_grad():
        logits = network(torch.randn(2, 1, 37, 50))
    planes = logits[:, 1:].flatten(2)
    assert torch.equal(planes, planes[..., :1].expand_as(planes))
    assert not torch.equal(planes[0], planes[1])


def test_the_heads_look_into_the_outline_but_do_not_move_it():
    network = from_file(NETWORKS, "multitask").train()
    network(torch.randn(2, 1, 64, 64))[:, 1:].sum().backward()
    tasks = network.network.network
    assert tasks.heads[1].weight.grad.abs().sum() > 0
    assert tasks.encoder.model.conv_stem.weight.grad.abs().sum() > 0
    for part in (tasks.decoder, tasks.segmentation_head):
        assert all(parameter.grad.abs().sum() == 0 for parameter in part.parameters())


def test_it_starts_from_a_segmentation_network_alone(tmp_path):
    torch.manual_seed(0)
    part, whole = from_file(NETWORKS, "efficient_unet").eval(), from_file(NETWORKS, "multitask").eval()
    save_weights(tmp_path / "part", part, architecture="efficient_unet")
    with pytest.raises(BreastkitError, match="does not fit this network"):
        load_weights(tmp_path / "part", whole)
    load_weights(tmp_path / "part", whole, of_a_part=True)
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(whole(image)[:, :1], part(image))
    save_weights(tmp_path / "other", from_file(NETWORKS, "attention_unet_small"), architecture="attention_unet_small")
    with pytest.raises(BreastkitError, match="choose --architecture attention_unet_small, or other weights"):
        load_weights(tmp_path / "other", whole, of_a_part=True)
