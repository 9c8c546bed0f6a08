"""YOLO as a plain network, its loss, and a start from published weights."""

from __future__ import annotations

import copy
import importlib
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from breastkit.detection.ultralytics_offline import ultralytics_module
from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.networks.traced import traced
from breastkit.weights import load_weights

# Distances from an anchor to the four sides of its box are distributions over so many steps.
_BINS = 16
# An image of side 32 n has 16 n², 4 n² and n² anchors on the three levels.
_ANCHORS = 21
_STRIDE = 32
logger = get_logger(__name__)


class YoloDetector(nn.Module):
    """A YOLO detector of one kind of object, whose output is one tensor.

    While training, that is the raw head ``(B, 65, anchors)``: 64 numbers for a box, the logit of its score. Otherwise
    ``(B, 5, anchors)``: centre x and y, width and height in pixels of the input, and the score.

    Args:
        model: the layout, as ultralytics names it: ``yolo11n.yaml``, ``yolo11s.yaml`` …
        in_channels: of the image.
    """

    def __init__(self, model: str = "yolo11n.yaml", *, in_channels: int = 3) -> None:
        super().__init__()
        self.in_channels, self.multiple = in_channels, _STRIDE
        self.model = ultralytics_module("ultralytics.nn.tasks").DetectionModel(
            model, ch=in_channels, nc=1, verbose=False
        )
        # Anchors kept from the call before would make a traced network another one than the first time.
        self.model.model[-1].dynamic = True

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns raw boxes while training, decoded ones otherwise.

        Raises:
            ValueError: if the image's sides are no multiples of 32.
        """
        rows, columns = image.shape[-2:]
        if rows % self.multiple != 0 or columns % self.multiple != 0:
            raise ValueError(f"sides must be multiples of {self.multiple}, got ({rows}, {columns})")
        output = self.model(image)
        if torch.jit.is_scripting():
            # Of a trace, which is decoded already.
            boxes: torch.Tensor = output
        elif self.training:
            boxes = torch.cat([output["boxes"], output["scores"]], dim=1)
        else:
            boxes = output[0]
        return boxes

    def __prepare_scriptable__(self) -> YoloDetector:
        """Returns what `torch.jit.script` compiles: it does not take ultralytics' modules themselves."""
        scriptable = copy.deepcopy(self).eval()
        scriptable.model = traced(_Decoded(scriptable.model), channels=self.in_channels)
        return scriptable


class _Decoded(nn.Module):
    """What ultralytics' model gives outside training, without what it adds for its own loss."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        decoded: torch.Tensor = self.model(image)[0]
        return decoded


class YoloLoss(nn.Module):
    """The loss YOLO is trained with: where boxes are, how exactly, and which anchors show one.

    Args:
        network: the detector that learns.
        box: weight of the overlap of boxes.
        score: weight of the scores.
        edges: weight of the distributions of the edges.
    """

    def __init__(self, network: YoloDetector, *, box: float = 7.5, score: float = 0.5, edges: float = 1.5) -> None:
        super().__init__()
        # Held aside, so that the network's weights are not the loss's.
        self._network = [network]
        self._weights = SimpleNamespace(box=box, cls=score, dfl=edges)
        self._loss: Any = None

    def forward(self, raw: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Returns the loss of a batch.

        Args:
            raw: what the network gives while training, of square images.
            boxes: ``(B, N, 4)``: x0, y0, x1, y1 in pixels; rows without area are no boxes.
        """
        if self._loss is None:
            model = self._network[0].model
            model.args = self._weights
            self._loss = ultralytics_module("ultralytics.utils.loss").v8DetectionLoss(model)
        side = _STRIDE * math.isqrt(raw.shape[-1] // _ANCHORS)
        strides = self._network[0].model.stride.tolist()
        levels = [raw.new_empty(1, 1, side // int(stride), side // int(stride)) for stride in strides]
        heads = {"boxes": raw[:, : 4 * _BINS], "scores": raw[:, 4 * _BINS :], "feats": levels}
        image, number = torch.nonzero((boxes[..., 2:] > boxes[..., :2]).all(-1), as_tuple=True)
        found = boxes[image, number]
        centres = torch.cat([(found[:, :2] + found[:, 2:]) / 2, found[:, 2:] - found[:, :2]], dim=1) / side
        targets = {"batch_idx": image.to(raw.dtype), "cls": torch.zeros_like(image, dtype=raw.dtype), "bboxes": centres}
        total: torch.Tensor = self._loss(heads, targets)[0]
        return total.sum() / len(raw)


class StartWeights:
    """Handler that gives a detector weights to start from, before the checkpoint of a run that goes on.

    Args:
        network: the detector.
        path: see `start_from`.
    """

    def __init__(self, network: YoloDetector, path: str | Path | None) -> None:
        self.network, self.path = network, path

    def attach(self, engine: Engine) -> None:
        """Attaches to a trainer."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Loads the weights."""
        start_from(self.network, self.path)


def start_from(network: YoloDetector, path: str | Path | None) -> YoloDetector:
    """Gives a detector weights to start from, and returns it.

    Args:
        network: the detector.
        path: a ``model.pt`` of this project, or a checkpoint of ultralytics such as ``yolo11n.pt``, of which every
            tensor is taken that fits; None leaves the random start.

    Raises:
        BreastkitError: if the file is missing, or holds neither.
    """
    if path is None:
        return network
    path = Path(path)
    if not path.is_file():
        raise BreastkitError(f"{path} does not exist; name a file of weights with --pretrained, or leave it out.")
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        _take_what_fits(network, _published(path), path)
    else:
        load_weights(path, network)
    return network


def _published(path: Path) -> dict[str, torch.Tensor]:
    """Reads a checkpoint of ultralytics: a pickled model, from which nothing but known classes is built."""
    ultralytics_module("ultralytics.nn.tasks")
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        strange = [
            name for name in names if not name.startswith(("ultralytics.nn.", "ultralytics.utils.", "torch.nn."))
        ]
        if strange:
            raise BreastkitError(f"{path} wants to run {strange[0]}, which no detector needs; get it from its source.")
        classes: list[Any] = [_found(name) for name in names]
        with torch.serialization.safe_globals(classes):
            content = torch.load(path, map_location="cpu", weights_only=True)
        model = content.get("ema") or content["model"]
        state: dict[str, torch.Tensor] = model.float().state_dict()
        return state
    except BreastkitError:
        raise
    except Exception as error:
        raise BreastkitError(
            f"{path} holds neither plain weights nor a checkpoint of ultralytics; give one."
        ) from error


def _found(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _take_what_fits(network: YoloDetector, given: dict[str, torch.Tensor], path: Path) -> None:
    own = network.model.state_dict()
    fitting = {name: tensor for name, tensor in given.items() if name in own and own[name].shape == tensor.shape}
    if len(fitting) < len(own) / 2:
        raise BreastkitError(
            f"{path} is of another layout ({len(fitting)} of {len(own)} tensors fit); choose its --architecture."
        )
    network.model.load_state_dict(own | fitting)
    logger.info("Weights of %s: %d of %d tensors fit.", path, len(fitting), len(own))
