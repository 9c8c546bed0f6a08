import pytest
import torch
from monai.inferers import SimpleInferer

from breastkit.inference import ClassSampling, Predictor
from breastkit.networks import Classifier, ConvFeatures


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Classifier(ConvFeatures(in_channels=2, channels=(8, 16)), classes=3, dropout=0.4).eval()


def pictures(count=3):
    return torch.randn(count, 2, 24, 24, generator=torch.Generator().manual_seed(0))


def test_the_first_opinion_is_the_mean_over_mirror_images(network):
    with torch.no_grad():
        opinions = ClassSampling(SimpleInferer(), samples=4, flip_axes=(0, 1))(pictures(), network)
        turned = [pictures().flip(turn) for turn in ([], [2], [3], [2, 3])]
        expected = torch.stack([network(image) for image in turned]).mean(0)
    assert opinions.shape == (3, 5, 3)
    torch.testing.assert_close(opinions[:, 0], expected)


def test_the_others_differ_and_repeat_themselves(network):
    inferer = ClassSampling(SimpleInferer(), samples=8)
    with torch.no_grad():
        once, again = inferer(pictures(), network), inferer(pictures(), network)
        alone = inferer(pictures()[1:2], network)
    assert torch.equal(once, again)
    assert once[:, 1:].std(1).min() > 0
    torch.testing.assert_close(alone[0], once[1])


def test_no_samples_and_no_mirror_image_is_the_network_itself(network):
    with torch.no_grad():
        opinions = ClassSampling(SimpleInferer(), samples=0, flip_axes=())(pictures(), network)
        torch.testing.assert_close(opinions[:, 0], network(pictures()))
    assert opinions.shape == (3, 1, 3)


def test_the_predictor_computes_the_features(network):
    with torch.no_grad():
        expected = ClassSampling(SimpleInferer(), samples=3)(pictures(), network)
        found = ClassSampling(Predictor(), samples=3)(pictures(), network)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("options", [{"samples": -1}, {"flip_axes": (2,)}])
def test_options_that_cannot_be(options):
    with pytest.raises(ValueError, match="must be"):
        ClassSampling(SimpleInferer(), **options)
