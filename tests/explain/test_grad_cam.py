import numpy as np
import pytest
import torch
from torch import nn

from breastkit.errors import BreastkitError
from breastkit.explain import GradCamPlusPlus, last_map_layer, share_inside
from breastkit.networks.classifier import Classifier, ConvFeatures


class BrightOrDark(nn.Module):
    """Class 0 sees what is bright, class 1 what is dark: the maps are known."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.maps = nn.Conv2d(1, 2, 1)
        self.maps.weight.data = torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1)
        self.maps.bias.data = torch.tensor([-0.5, 0.5])
        self.relu = nn.ReLU()
        self.head = nn.Linear(2, 2, bias=False)
        self.head.weight.data = factor * torch.tensor([[1.0, -1.0], [-1.0, 1.0]])

    def forward(self, image):
        return self.head(self.relu(self.maps(image)).mean((2, 3)))


@pytest.fixture
def picture():
    image = torch.zeros(1, 12, 16)
    image[:, 2:5, 8:14] = 1
    return image


# Scores of 1e4 and -1e4 overflow and vanish in MONAI's exponential.
@pytest.mark.parametrize("factor", [1.0, 1e5, -1e5])
def test_the_map_is_where_the_class_is_seen(picture, factor):
    explain = GradCamPlusPlus(BrightOrDark(factor))
    of_bright, of_dark = (0, 1) if factor > 0 else (1, 0)
    np.testing.assert_allclose(explain(picture, of_bright), picture[0], atol=1e-4)
    np.testing.assert_allclose(explain(picture, of_dark), 1 - picture[0], atol=1e-4)


def test_it_works_without_gradients_and_leaves_the_network_alone(picture):
    network = BrightOrDark().requires_grad_(False).train()
    with torch.no_grad():
        relevance = GradCamPlusPlus(network)(picture, 0)
    assert np.isfinite(relevance).all()
    assert network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


def test_a_map_has_the_size_of_the_picture_and_is_the_same_twice():
    torch.manual_seed(0)
    explain = GradCamPlusPlus(Classifier(ConvFeatures(in_channels=2), classes=3))
    image = torch.rand(2, 48, 48)
    maps = [explain(image, index) for index in (0, 1, 2, 0)]
    assert all(each.shape == (48, 48) and each.min() >= 0 and each.max() <= 1 for each in maps)
    np.testing.assert_array_equal(maps[0], maps[3])
    assert np.abs(maps[0] - maps[1]).max() > 0.01


def test_the_last_layer_with_maps_is_found():
    assert last_map_layer(BrightOrDark()) == "relu"
    assert last_map_layer(Classifier(ConvFeatures(in_channels=2), classes=3)).startswith("trunk.features.stages.3.1")
    with pytest.raises(BreastkitError, match="no layer that gives maps"):
        last_map_layer(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))


def test_another_layer_can_be_chosen():
    network = Classifier(ConvFeatures(in_channels=1), classes=2)
    assert GradCamPlusPlus(network, layer="trunk.features.stages.1").layer == "trunk.features.stages.1"
    with pytest.raises(BreastkitError, match=r"has no layer 'stages'; 'trunk\.features"):
        GradCamPlusPlus(network, layer="stages")


def test_share_inside():
    relevance = np.zeros((4, 4))
    relevance[0], relevance[1, 0] = 1, 4
    mask = np.zeros((4, 4), bool)
    mask[1] = True
    assert share_inside(relevance, mask) == pytest.approx(0.5)
    assert np.isnan(share_inside(relevance, np.zeros((4, 4))))
    assert np.isnan(share_inside(np.zeros((4, 4)), mask))
