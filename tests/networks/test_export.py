"""Every network that the detector's and the classifier's bundle offer, shipped or not, as TorchScript."""

import io
from pathlib import Path

import pytest
import torch

from breastkit.networks import from_file, names_in

BUNDLES = Path(__file__).parents[2] / "bundles"
# With the channels that each takes.
OFFERED = [
    (bundle, name)
    for bundle in ("breast_mri_lesion_detection", "breast_us_lesion_classification")
    for name in names_in(BUNDLES / bundle / "configs/networks.json")
]


@pytest.mark.slow
@pytest.mark.parametrize(("bundle", "name"), OFFERED)
def test_scripted_it_computes_the_same(bundle, name):
    torch.manual_seed(0)
    network = from_file(BUNDLES / bundle / "configs/networks.json", name).eval()
    channels = next(parameter for parameter in network.parameters() if parameter.ndim == 4).shape[1]
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(network), file)
    file.seek(0)
    scripted = torch.jit.load(file).eval()
    for shape in ((1, channels, 64, 64), (2, channels, 96, 64)):
        image = torch.rand(shape)
        with torch.no_grad():
            expected, answer = network(image), scripted(image)
        torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-4)
