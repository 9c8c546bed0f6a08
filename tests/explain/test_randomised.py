import numpy as np
import torch

from breastkit.explain import GradCamPlusPlus, map_correlation, randomise_from_the_top
from breastkit.networks.classifier import Classifier, ConvFeatures


def network():
    torch.manual_seed(0)
    return Classifier(ConvFeatures(in_channels=1, channels=(4, 8, 8)), classes=2).eval()


def test_layers_become_random_from_the_output_down():
    trained, images = network(), torch.rand(4, 1, 32, 32)
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    stages = list(randomise_from_the_top(trained, images, stages=3))
    assert [round(stage.share, 1) for stage in stages] == [0.3, 0.7, 1.0]
    first = "trunk.features.stages.0.0.0.weight"
    assert torch.equal(stages[1].network.state_dict()[first], before[first])
    assert not torch.equal(stages[0].network.state_dict()["head.weight"], before["head.weight"])
    assert not torch.equal(stages[2].network.state_dict()[first], before[first])
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert not any(stage.network.training for stage in stages)


def test_features_of_random_weights_keep_their_size():
    images = torch.rand(4, 1, 32, 32)
    for stage in randomise_from_the_top(network(), images, stages=2):
        features = stage.network.trunk.features(images)
        assert 0.1 < float(features.detach().std()) < 10


def test_the_same_seed_gives_the_same_weights_whatever_came_before():
    images = torch.rand(4, 1, 32, 32)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    states = []
    for _ in range(2):
        states.append(next(randomise_from_the_top(network(), images, stages=1)).network.state_dict())
    torch.set_rng_state(state)
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_maps_of_random_weights_differ():
    trained, images = network(), torch.rand(4, 1, 32, 32)
    own = GradCamPlusPlus(trained)(images[0], 0)
    *_, last = randomise_from_the_top(trained, images, stages=2)
    assert map_correlation(own, own) == 1
    assert map_correlation(own, GradCamPlusPlus(last.network)(images[0], 0)) < 0.9


def test_a_flat_map_correlates_with_nothing():
    assert map_correlation(np.zeros(9), np.arange(9)) == 0
