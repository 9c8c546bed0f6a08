import pytest
import torch
from monai.inferers import SimpleInferer
from torch import nn

from breastkit.inference import FlipAveraging


class Sideways(nn.Module):
    """A network that answers differently left and right, and above and below."""

    def forward(self, image):
        ramp = torch.linspace(0, 1, image.shape[-1]) + 2 * torch.linspace(0, 1, image.shape[-2])[:, None]
        return image * ramp


@pytest.mark.parametrize(("axes", "flips"), [((1,), [[3]]), ((0,), [[2]]), ((0, 1), [[2], [3], [2, 3]])])
def test_the_mean_of_mirror_images(axes, flips):
    image, network, plain = torch.randn(2, 1, 5, 7), Sideways(), SimpleInferer()
    parts = [plain(image, network), *(plain(image.flip(turn), network).flip(turn) for turn in flips)]
    expected = torch.stack([torch.sigmoid(part) for part in parts]).mean(0)
    result = FlipAveraging(plain, axes=axes)(image, network)
    torch.testing.assert_close(torch.sigmoid(result), expected)
    mirrored = FlipAveraging(plain, axes=axes)(image.flip(axes[0] + 2), network).flip(axes[0] + 2)
    torch.testing.assert_close(mirrored, result)


def test_no_axes_leave_the_inferer_alone():
    image, network = torch.randn(1, 1, 5, 7), Sideways()
    assert torch.equal(FlipAveraging(SimpleInferer(), axes=())(image, network), network(image))


def test_sure_answers_stay_finite():
    image = torch.full((1, 1, 4, 4), 1e4)
    assert torch.isfinite(FlipAveraging(SimpleInferer())(image, nn.Identity())).all()


def test_other_axes_are_refused():
    with pytest.raises(ValueError, match="axes must be 0 or 1"):
        FlipAveraging(SimpleInferer(), axes=(2,))
