import logging

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from breastkit.errors import BreastkitError
from breastkit.networks import preset, start_encoder


@pytest.fixture
def network():
    return preset("unet_small")


@pytest.fixture(autouse=True)
def heard(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("breastkit"), "propagate", True)
    caplog.set_level(logging.INFO, logger="breastkit")


def other_encoder() -> timm.models.ResNet:
    torch.manual_seed(7)
    return timm.create_model("resnet18", stem_type="deep", stem_width=12, channels=(24, 48, 96, 192))


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_file_of_a_whole_classifier(network, tmp_path, caplog, ending):
    state, path = other_encoder().state_dict(), tmp_path / f"weights.{ending}"
    save_file(state, path) if ending == "safetensors" else torch.save(state, path)
    assert start_encoder(network, str(path)) is network
    inside = network.network.network.encoder.model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in inside.items())
    assert f"The encoder resnet18 starts from {path}" in caplog.text


def test_file_of_the_encoder_itself(network, tmp_path):
    state = preset("unetplusplus_small").network.network.encoder.state_dict()
    torch.save(state, tmp_path / "encoder.pth")
    start_encoder(network, tmp_path / "encoder.pth")
    inside = network.network.network.encoder.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in inside.items())


def test_file_of_efficientnet_lite_pytorch(tmp_path):
    network = preset("efficient_unet")
    torch.manual_seed(7)
    state = timm.create_model("tf_efficientnet_lite0").state_dict()
    # The package has the same tensors in the same order; its own names begin with an underscore.
    named = {"_conv_stem.weight" if name == "conv_stem.weight" else f"_{name}": state[name] for name in state}
    torch.save(named, tmp_path / "lite0.pth")
    start_encoder(network, tmp_path / "lite0.pth")
    inside = network.network.network.encoder.model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in inside.items())
    with pytest.raises(BreastkitError, match="does not fit the encoder resnet18"):
        start_encoder(preset("unet_small"), tmp_path / "lite0.pth")


def test_nothing_asked_for_is_random_and_said(network, caplog):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert start_encoder(network) is network
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert "starts from random weights" in caplog.text


def test_imagenet_without_a_network_is_a_sentence(network, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BreastkitError, match=r"could not fetch ImageNet weights of resnet18 .* --encoder_weights"):
        start_encoder(network, "imagenet")


def test_weights_of_another_encoder_are_refused(network, tmp_path):
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "other.pth")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(BreastkitError, match=r"other\.pth does not fit the encoder resnet18 .*choose another"):
        start_encoder(network, tmp_path / "other.pth")
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_bad_files_are_named(network, tmp_path):
    with pytest.raises(BreastkitError, match=r"none\.pth does not exist"):
        start_encoder(network, tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(BreastkitError, match=r"text\.pth holds no plain weights"):
        start_encoder(network, tmp_path / "text.pth")


def test_network_without_encoder_is_told(tmp_path):
    with pytest.raises(BreastkitError, match="no encoder to start from weights"):
        start_encoder(preset("light"), "imagenet")
