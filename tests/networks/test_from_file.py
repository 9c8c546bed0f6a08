import json

import pytest
from torch import nn

from breastkit.errors import BreastkitError
from breastkit.networks import PRESETS, from_file, names_in, preset


@pytest.fixture
def networks(tmp_path):
    path = tmp_path / "networks.json"
    one = {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": 1}
    path.write_text(json.dumps({"thin": one, "thick": {**one, "out_channels": 8}}))
    return path


def test_builds_by_name(networks):
    assert names_in(networks) == ["thin", "thick"]
    network = from_file(networks, "thick")
    assert isinstance(network, nn.Conv2d)
    assert network.out_channels == 8


def test_unknown_name_lists_the_names(networks):
    with pytest.raises(BreastkitError, match="has no network 'fat'; choose one of thin, thick"):
        from_file(networks, "fat")


@pytest.mark.parametrize("text", ["{", "[]"])
def test_broken_file_is_named(tmp_path, text):
    path = tmp_path / "networks.json"
    path.write_text(text)
    with pytest.raises(BreastkitError, match=r"networks\.json is no JSON"):
        from_file(path, "thin")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(BreastkitError, match="does not exist; give the bundle's folder"):
        from_file(tmp_path / "networks.json", "thin")


def test_presets_are_taken_in_and_told_what_they_leave_open(tmp_path):
    path = tmp_path / "networks.json"
    own = {"_target_": "torch.nn.Conv2d", "in_channels": "@in_channels", "out_channels": 1, "kernel_size": 1}
    path.write_text(json.dumps({"_presets_": {"in_channels": 3}, "own": own, "same": "%own"}))
    assert names_in(path) == ["own", "same", *names_in(PRESETS)]
    assert from_file(path, "own").in_channels == from_file(path, "same").in_channels == 3
    expected = preset("attention_unet_small", in_channels=3).state_dict()
    built = from_file(path, "attention_unet_small").state_dict()
    assert {name: tensor.shape for name, tensor in built.items()} == {
        name: tensor.shape for name, tensor in expected.items()
    }
