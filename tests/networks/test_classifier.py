import logging

import pytest
import timm
import torch

from breastkit.errors import BreastkitError
from breastkit.networks import Classifier, ConvFeatures, TimmFeatures, start_encoder


def settled(network):
    """Batch norm with statistics of its own, as trained weights have them."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


@pytest.fixture(scope="module")
def lite():
    torch.manual_seed(0)
    return settled(timm.create_model("tf_efficientnet_lite0"))


def efficientnet(in_channels=3, activation="relu6"):
    features = TimmFeatures("tf_efficientnet_b0", in_channels=in_channels, activation=activation)
    return Classifier(features, classes=2).eval()


def pictures(channels=3):
    return torch.randn(2, channels, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("naming", ["timm", "efficientnet_lite_pytorch"])
def test_an_efficientnet_b0_started_from_lite0_computes_what_lite0_does(lite, tmp_path, naming):
    state = lite.state_dict()
    if naming != "timm":
        # That package names tensors in its own way, in the same order, and has no counters in some versions.
        names = [name for name in state if "num_batches" not in name]
        state = {"_conv_stem.weight" if place == 0 else f"_{place}": state[name] for place, name in enumerate(names)}
    torch.save(state, tmp_path / "lite0.pth")
    network = efficientnet()
    before = network.head.weight.clone()
    start_encoder(network, tmp_path / "lite0.pth")
    with torch.no_grad():
        features, expected = network.trunk.features(pictures()), lite.forward_features(pictures())
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-4)
    assert torch.equal(network.head.weight, before)
    assert network.started_from.startswith("lite0.pth (EfficientNet-Lite0")


def test_gates_started_open_still_learn(lite, tmp_path):
    torch.save(lite.state_dict(), tmp_path / "lite0.pth")
    network = start_encoder(efficientnet(), tmp_path / "lite0.pth")
    network(pictures()).square().mean().backward()
    gates = [parameter for name, parameter in network.named_parameters() if "se.conv_expand.bias" in name]
    assert len(gates) == 16
    assert all(parameter.grad.abs().max() > 0 for parameter in gates)


def test_weights_of_a_whole_b0_are_taken_as_they_are(tmp_path):
    whole = timm.create_model("tf_efficientnet_b0")
    torch.save(whole.state_dict(), tmp_path / "b0.pth")
    network = start_encoder(efficientnet(activation=None), tmp_path / "b0.pth")
    state = whole.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.trunk.features.model.state_dict().items())
    assert network.started_from == "b0.pth (tf_efficientnet_b0)"


def test_two_channels_start_from_weights_for_three(lite, tmp_path):
    torch.save(lite.state_dict(), tmp_path / "lite0.pth")
    network = start_encoder(efficientnet(in_channels=2), tmp_path / "lite0.pth")
    stem = lite.conv_stem.weight
    torch.testing.assert_close(network.trunk.features.model.conv_stem.weight, stem[:, :2] * 1.5)
    assert network(pictures(2)).shape == (2, 2)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "other.pth")
    with pytest.raises(BreastkitError, match=r"other\.pth does not fit the encoder tf_efficientnet_b0"):
        start_encoder(efficientnet(), tmp_path / "other.pth")


def test_random_weights_are_said_to_be(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("breastkit"), "propagate", True)
    caplog.set_level(logging.INFO, logger="breastkit")
    network = Classifier(ConvFeatures(in_channels=2, channels=(4, 8)), classes=3)
    assert start_encoder(network).started_from == "random weights"
    assert "random weights" in caplog.text
    with pytest.raises(BreastkitError, match="no encoder to start from weights"):
        start_encoder(network, "imagenet")


def test_a_gray_picture_goes_to_all_channels():
    network, gray = efficientnet(), pictures(1)
    with torch.no_grad():
        torch.testing.assert_close(network(gray), network(gray.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize("size", [(32, 32), (45, 61)])
def test_small_network(size):
    torch.manual_seed(0)
    network = Classifier(ConvFeatures(in_channels=2, channels=(8, 16)), classes=3)
    image = torch.randn(4, 2, *size)
    logits = network(image)
    assert logits.shape == (4, 3)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_opinions_are_those_of_dropout_and_repeat_themselves():
    torch.manual_seed(0)
    network = Classifier(ConvFeatures(in_channels=1, channels=(8, 64)), classes=2, dropout=0.5).eval()
    with torch.no_grad():
        features = network.trunk(pictures(1))
        opinions = network.sampled(features, samples=4000)
        assert opinions.shape == (2, 4000, 2)
        # Dropout keeps the mean.
        torch.testing.assert_close(opinions.mean(1), network.head(features), rtol=0.1, atol=0.02)
        assert opinions.std(1).min() > 0.005
        torch.testing.assert_close(network.sampled(features[1:], samples=4000), opinions[1:])
        network.dropout.p = 0.0
        few = network.sampled(features, samples=3)
        torch.testing.assert_close(few, network.head(features)[:, None].expand_as(few))
