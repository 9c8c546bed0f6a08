import pytest
import torch
from monai.inferers import SimpleInferer
from torch import nn

from breastkit.inference import AroundBody, Predictor


class Seen(nn.Module):
    """A network that answers what it is shown, and remembers the size of it."""

    def forward(self, image):
        self.size = tuple(image.shape[-2:])
        return image[:, :1] * 2 - 1


@pytest.fixture
def scan():
    """Air with noise, and in it a body that is smaller in the second half of the slices."""
    image = torch.rand(1, 1, 160, 128, 10, generator=torch.Generator().manual_seed(0)) * 0.01
    image[:, :, 50:110, 56:72] += 1
    image[:, :, 60:100, 60:65, 5:] += 0.2
    return image


def test_the_network_sees_the_box_around_the_body(scan):
    network = Seen()
    logits = AroundBody(Predictor(backend="torch"))(scan, network)
    assert network.size == (128 - 32, 96 - 32)
    assert logits.shape == scan.shape
    assert torch.equal(logits[:, :, 32:128, 32:96], scan[:, :, 32:128, 32:96] * 2 - 1)
    outside = torch.ones_like(scan, dtype=torch.bool)
    outside[:, :, 32:128, 32:96] = False
    assert (torch.sigmoid(logits[outside]) == 0).all()


def test_single_images_too(scan):
    network = Seen()
    assert AroundBody(SimpleInferer())(scan[..., 0], network).shape == (1, 1, 160, 128)
    assert network.size == (128 - 32, 96 - 32)


def test_the_padding_of_slices_that_are_no_squares_is_spared(scan):
    noisy = torch.rand(1, 1, 256, 256, 10) + 0.5
    noisy[:, :, :96] = 0
    noisy[:, :, 160:] = 0
    AroundBody(Predictor(backend="torch"))(noisy, network := Seen())
    assert network.size == (192 - 64, 256)


def test_noisy_air_is_spared(scan):
    """Each slice is normalised by itself, so that air is of another grey in each, and all there is in some."""
    noise = torch.rand(scan.shape, generator=torch.Generator().manual_seed(1)) * 0.3
    slices = scan + noise
    slices[..., 7:] = noise[..., 7:]
    slices = (slices - slices.mean(dim=(2, 3), keepdim=True)) / slices.std(dim=(2, 3), keepdim=True)
    AroundBody(Predictor(backend="torch"))(slices, network := Seen())
    assert network.size == (96, 64)


def test_a_bright_speck_is_no_body(scan):
    scan[:, :, 2, 120, 3] = 1.2
    AroundBody(Predictor(backend="torch"))(scan, network := Seen())
    assert network.size == (96, 64)


@pytest.mark.parametrize("make", [torch.zeros, torch.rand])
def test_where_no_body_stands_out_all_is_looked_at(make):
    image = make(2, 1, 96, 64)
    assert torch.equal(AroundBody(SimpleInferer())(image, network := Seen()), image * 2 - 1)
    assert network.size == (96, 64)
