"""The network that looks at prompts, as the ultrasound bundle has it."""

from pathlib import Path

import pytest
import torch
from tests.networks.contract import NetworkContract

from breastkit.networks import from_file
from breastkit.weights import load_weights, save_weights

NETWORKS = Path(__file__).parents[2] / "bundles/breast_us_lesion_segmentation/configs/networks.json"


class TestPromptedEncoderDecoder(NetworkContract):
    channels = (1, 4)

    def build(self, in_channels=1):
        return from_file(NETWORKS, "clicks")


@pytest.fixture
def started(tmp_path):
    torch.manual_seed(0)
    automatic = from_file(NETWORKS, "efficient_unet").eval()
    prompted = from_file(NETWORKS, "clicks").eval()
    save_weights(tmp_path, automatic, architecture="efficient_unet")
    load_weights(tmp_path, prompted, of_a_part=True)
    return automatic, prompted


def test_from_automatic_weights_it_begins_as_the_automatic_network(started):
    automatic, prompted = started
    picture, planes = torch.randn(2, 1, 32, 32), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = automatic(picture)
        torch.testing.assert_close(prompted(picture), expected)
        torch.testing.assert_close(prompted(torch.cat([picture, planes], 1)), expected)


def test_what_is_pointed_at_changes_the_answer_once_the_first_convolution_has_learnt(started):
    _, prompted = started
    first = next(module for module in prompted.modules() if isinstance(module, torch.nn.Conv2d))
    torch.nn.init.normal_(first.weight.data[:, 3:])
    picture = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        alone = prompted(picture)
        assert torch.equal(prompted(torch.cat([picture, torch.zeros(1, 3, 32, 32)], 1)), alone)
        assert not torch.allclose(prompted(torch.cat([picture, torch.ones(1, 3, 32, 32)], 1)), alone)
