"""The network, what it learns from, what it starts from, and what ultralytics leaves behind: nothing."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from breastkit.detection import YoloDetector, YoloLoss, start_from
from breastkit.detection.ultralytics_offline import ultralytics_module
from breastkit.errors import BreastkitError
from breastkit.training import save_weights


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return YoloDetector()


def test_size_and_shapes(network):
    # The published 2.6 million, for one class.
    assert 2.5e6 < sum(tensor.numel() for tensor in network.parameters()) < 2.65e6
    image = torch.rand(2, 3, 64, 96)
    assert network.train()(image).shape == (2, 65, 126)
    decoded = network.eval()(image)
    assert decoded.shape == (2, 5, 126)
    assert 0 <= decoded[:, 4].min() <= decoded[:, 4].max() <= 1
    with pytest.raises(ValueError, match="multiples of 32"):
        network(torch.rand(1, 3, 50, 64))


def test_it_learns_to_find_one_box():
    torch.manual_seed(0)
    network = YoloDetector().train()
    loss, optimizer = YoloLoss(network), torch.optim.AdamW(network.parameters(), lr=2e-3)
    image = torch.zeros(4, 3, 64, 64)
    image[:3, :, 16:40, 24:48] = 1
    boxes = torch.zeros(4, 2, 4)
    boxes[:3, 0] = torch.tensor([24.0, 16, 48, 40])
    losses = []
    for _ in range(40):
        value = loss(network(image), boxes)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.85 * losses[0]


def test_a_batch_without_boxes_has_a_loss(network):
    network.train()
    value = YoloLoss(network)(network(torch.rand(2, 3, 64, 64)), torch.zeros(2, 3, 4))
    value.backward()
    assert torch.isfinite(value)


def test_the_loss_has_no_weights_of_its_own(network):
    assert list(YoloLoss(network).parameters()) == []


def test_starts(network, tmp_path):
    save_weights(tmp_path, network, architecture="yolo11n")
    torch.manual_seed(1)
    other = start_from(YoloDetector(), tmp_path / "model.pt")
    assert all(
        torch.equal(a, b) for a, b in zip(other.state_dict().values(), network.state_dict().values(), strict=True)
    )
    assert start_from(other, None) is other
    with pytest.raises(BreastkitError, match="does not exist"):
        start_from(other, tmp_path / "nothing.pt")
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(BreastkitError, match="neither plain weights nor a checkpoint"):
        start_from(other, tmp_path / "text.pt")


def test_a_published_checkpoint_starts_all_that_fits(tmp_path):
    """A checkpoint as ultralytics writes it: the whole model pickled, at half precision, for 80 classes."""
    torch.manual_seed(2)
    published = ultralytics_module("ultralytics.nn.tasks").DetectionModel("yolo11n.yaml", nc=80, verbose=False).half()
    torch.save({"model": published, "ema": None, "epoch": -1}, tmp_path / "yolo11n.pt")
    network = start_from(YoloDetector(), tmp_path / "yolo11n.pt")
    own, given = network.model.state_dict(), published.state_dict()
    same = [name for name in own if own[name].shape == given[name].shape]
    assert len(own) > len(same) > 0.85 * len(own)
    assert all(torch.equal(own[name], given[name].to(own[name].dtype)) for name in same)
    with pytest.raises(BreastkitError, match="of another layout"):
        start_from(YoloDetector("yolo11s.yaml"), tmp_path / "yolo11n.pt")


class Strange:
    """Stands for code that a checkpoint would run."""


def test_a_checkpoint_that_wants_to_run_other_code_is_refused(tmp_path):
    torch.save({"model": Strange()}, tmp_path / "strange.pt")
    with pytest.raises(BreastkitError, match="which no detector needs"):
        start_from(YoloDetector(), tmp_path / "strange.pt")


def test_importing_it_changes_nothing_and_asks_nobody(tmp_path):
    """In a process of its own, where the import is the first."""
    code = """
import os, socket, sys, cv2, numpy, torch
def refuse(*_, **__): raise SystemExit("asked the network")
socket.getaddrinfo = socket.socket.connect = refuse
from breastkit.detection.ultralytics_offline import ultralytics_module
assert "ultralytics" not in sys.modules
before = dict(os.environ), torch.save, cv2.getNumThreads(), numpy.get_printoptions(), torch.get_num_threads()
ultralytics_module("ultralytics.nn.tasks")
after = dict(os.environ), torch.save, cv2.getNumThreads(), numpy.get_printoptions(), torch.get_num_threads()
assert before == after, (before, after)
"""
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / ".config"),
        "TMPDIR": str(tmp_path),
    }
    environment.pop("YOLO_CONFIG_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not [
        path for path in tmp_path.rglob("*") if "ltralytics" in path.name or path.name.startswith("breastkit-yolo")
    ]
