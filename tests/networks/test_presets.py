"""The networks that bundles share by name; each takes the contract."""

import json
from pathlib import Path

import pytest
import torch
from tests.networks.contract import NetworkContract

from breastkit.errors import BreastkitError
from breastkit.networks import PRESETS, from_file, names_in, preset

NETWORKS = sorted(Path(__file__).parents[2].glob("bundles/*/configs/networks.json"))


# Large, or near to one that is not: these take the contract in `make test-all`.
SLOW = {
    *("unet", "unet_small", "unetplusplus_reference", "deeplabv3", "deeplabv3plus", "deeplabv3plus_small", "light"),
    *("attention_unet_half", "attention_unet_reference", "unet3plus_small", "unet3plus_reference"),
    *("transunet_small", "transunet_reference"),
}
MARKED = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in names_in(PRESETS)]


class TestEveryPreset(NetworkContract):
    @pytest.fixture(autouse=True, params=MARKED)
    def named(self, request):
        self.name = request.param

    def build(self, in_channels=1):
        return preset(self.name, in_channels=in_channels)

    def test_learns_from_a_single_image(self):
        torch.manual_seed(0)
        network = self.build().train()
        sum(output.sum() for output in self.outputs(network(self.image()))).backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


@pytest.mark.parametrize("name", ["unet", "unetplusplus_reference", "deeplabv3", "deeplabv3plus"])
def test_reference_has_a_resnet34_encoder(name):
    with torch.device("meta"):
        encoder = preset(name).network.network.encoder
    assert encoder.name == "resnet34"
    assert [len(encoder.model[f"layer{number}"]) for number in (1, 2, 3, 4)] == [3, 4, 6, 3]


def test_slow_ones_are_presets():
    assert set(names_in(PRESETS)) > SLOW


def test_one_name_is_one_network_in_all_bundles():
    named = {name: {json.dumps(network)} for name, network in json.loads(PRESETS.read_text()).items()}
    for path in NETWORKS:
        for name, network in json.loads(path.read_text()).items():
            if name not in ("_presets_", "_renamed_"):
                named.setdefault(name, set()).add(json.dumps(network))
    assert [name for name, networks in named.items() if len(networks) > 1] == []


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.parents[1].name)
def test_old_names_are_refused_with_the_new_one(path):
    renamed = json.loads(path.read_text()).get("_renamed_", {})
    assert set(renamed.values()) <= set(names_in(path))
    for old, new in renamed.items():
        assert old not in names_in(path)
        with pytest.raises(BreastkitError, match=f"has no network '{old}' any more; give --architecture {new}"):
            from_file(path, old)


def test_an_unknown_preset_is_refused_with_those_there_are():
    with pytest.raises(BreastkitError, match="has no network 'fat'; choose one of light, efficient_unet"):
        preset("fat")
