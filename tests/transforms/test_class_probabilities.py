import pytest
import torch

from breastkit.transforms import ClassProbabilitiesd


def test_probabilities_at_a_temperature_and_their_uncertainty():
    opinions = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    result = ClassProbabilitiesd("pred", temperature=2.0)({"pred": opinions, "name": "x"})
    torch.testing.assert_close(result["pred"], torch.softmax(torch.tensor([1.0, 0.0]).double(), 0))
    assert result["pred_uncertainty"] == pytest.approx(1.0)
    assert result["name"] == "x"
