import pytest
import torch
from torch import nn

from breastkit.training import AutocastInferer
from breastkit.training.autocast_inferer import has_bf16


class Spy(nn.Conv2d):
    def forward(self, image):
        output = super().forward(image)
        self.seen = output.dtype
        return output


@pytest.mark.parametrize(("precision", "expected"), [("f32", torch.float32), ("bf16", torch.bfloat16)])
def test_computes_as_asked_and_answers_in_float32(precision, expected):
    network = Spy(1, 2, 3)
    logits = AutocastInferer(precision=precision)(torch.randn(1, 1, 8, 8), network)
    assert network.seen == expected
    assert logits.dtype == torch.float32
    logits.sum().backward()
    assert network.weight.grad.dtype == torch.float32


def test_auto_follows_the_hardware():
    network = Spy(1, 2, 3)
    AutocastInferer()(torch.randn(1, 1, 8, 8), network)
    assert network.seen == (torch.bfloat16 if has_bf16(torch.device("cpu")) else torch.float32)


def test_unknown_precision():
    with pytest.raises(ValueError, match="precision must be auto, bf16 or f32, got 'half'"):
        AutocastInferer(precision="half")
