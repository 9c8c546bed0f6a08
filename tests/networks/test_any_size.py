import torch
from torch import nn

from breastkit.networks import AnySize


class Recorder(nn.Module):
    def forward(self, image):
        self.seen = image
        return image * 2


def test_pads_with_the_border_and_crops_back():
    recorder = Recorder()
    image = torch.arange(15.0).reshape(1, 1, 3, 5)
    assert torch.equal(AnySize(recorder, multiple=4)(image), image * 2)
    assert recorder.seen.shape == (1, 1, 4, 8)
    assert torch.equal(recorder.seen[0, 0, 3], torch.tensor([10.0, 11, 12, 13, 14, 14, 14, 14]))


def test_fitting_images_pass_as_they_are():
    recorder = Recorder()
    image = torch.rand(1, 1, 8, 4)
    AnySize(recorder, multiple=4)(image)
    assert recorder.seen is image
