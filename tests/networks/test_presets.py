"""The networks that bundles share by name; each takes the contract."""

import json
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from tests.networks.contract import NetworkContract

from breastkit.errors import BreastkitError
from breastkit.networks import PRESETS, from_file, names_in, preset

NETWORKS = sorted(Path(__file__).parents[2].glob("bundles/*/configs/networks.json"))


class Preset(NetworkContract):
    name: ClassVar[str]

    def build(self, in_channels=1):
        return preset(self.name, in_channels=in_channels)

    def test_learns_from_a_single_image(self):
        torch.manual_seed(0)
        network = self.build().train()
        sum(output.sum() for output in self.outputs(network(self.image()))).backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


@pytest.mark.slow
class TestUnetSmall(Preset):
    name = "unet_small"


class TestUnetPlusPlusSmall(Preset):
    name = "unetplusplus_small"


class TestDeepLabV3Small(Preset):
    name = "deeplabv3_small"


@pytest.mark.slow
class TestDeepLabV3PlusSmall(Preset):
    name = "deeplabv3plus_small"


class TestAttentionUnetSmall(Preset):
    name = "attention_unet_small"


@pytest.mark.slow
class TestUnet(Preset):
    name = "unet"


@pytest.mark.slow
class TestUnetPlusPlusReference(Preset):
    name = "unetplusplus_reference"


@pytest.mark.slow
class TestDeepLabV3(Preset):
    name = "deeplabv3"


@pytest.mark.slow
class TestDeepLabV3Plus(Preset):
    name = "deeplabv3plus"


@pytest.mark.slow
class TestAttentionUnetHalf(Preset):
    name = "attention_unet_half"


@pytest.mark.slow
class TestAttentionUnetReference(Preset):
    name = "attention_unet_reference"


@pytest.mark.slow
class TestLight(Preset):
    name = "light"


class TestEfficientUnet(Preset):
    name = "efficient_unet"


@pytest.mark.slow
class TestUnet3PlusSmall(Preset):
    name = "unet3plus_small"


@pytest.mark.slow
class TestTransUnetSmall(Preset):
    name = "transunet_small"


@pytest.mark.slow
class TestUnet3PlusReference(Preset):
    name = "unet3plus_reference"


@pytest.mark.slow
class TestTransUnetReference(Preset):
    name = "transunet_reference"


@pytest.mark.parametrize("name", ["unet", "unetplusplus_reference", "deeplabv3", "deeplabv3plus"])
def test_reference_has_a_resnet34_encoder(name):
    with torch.device("meta"):
        encoder = preset(name).network.network.encoder
    assert encoder.name == "resnet34"
    assert [len(encoder.model[f"layer{number}"]) for number in (1, 2, 3, 4)] == [3, 4, 6, 3]


def test_every_preset_takes_the_contract():
    assert {case.name for case in Preset.__subclasses__()} == set(names_in(PRESETS))


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
