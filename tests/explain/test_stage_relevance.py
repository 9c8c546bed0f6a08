import numpy as np
import pytest
import torch
from tests.explain.test_grad_cam import BrightOrDark

from breastkit.errors import BreastkitError
from breastkit.explain import StageRelevance, stage_layers
from breastkit.networks.classifier import Classifier, ConvFeatures, TimmFeatures


def test_what_spoke_against_the_class_counts_too():
    """Bright places speak for class 0 and dark ones against it: both matter, and LayerCAM sees the former alone."""
    picture = torch.zeros(1, 12, 16)
    picture[:, 2:5, 8:14] = 1
    network = BrightOrDark()
    np.testing.assert_allclose(StageRelevance(network)(picture, 0), 1, atol=1e-5)
    np.testing.assert_allclose(StageRelevance(network, against=False)(picture, 0), picture[0], atol=1e-5)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_place_counts_where_all_stages_agree():
    torch.manual_seed(0)
    network = Classifier(ConvFeatures(in_channels=1), classes=2)
    image, layers = torch.rand(1, 64, 64), ["trunk.features.stages.2", "trunk.features.stages.3"]
    each = [StageRelevance(network, layers=[layer])(image, 1) for layer in layers]
    product = each[0] * each[1]
    np.testing.assert_allclose(StageRelevance(network)(image, 1), product / product.max(), atol=1e-5)


def test_stages_are_those_of_an_eighth_and_less_and_the_last_layer():
    assert stage_layers(BrightOrDark()) == ["relu"]
    network = Classifier(TimmFeatures("tf_efficientnet_b0", activation="relu6"), classes=2).eval()
    blocks = [f"trunk.features.model.blocks.{number}" for number in (2, 3, 4, 5, 6)]
    assert stage_layers(network)[:-1] == blocks
    with pytest.raises(BreastkitError, match="has no layer 'stages'"):
        StageRelevance(network, layers=["stages"])
