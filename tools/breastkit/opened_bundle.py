"""A bundle opened for one picture at a time, by its own inference config: pages and chains keep it in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd
from torch import nn
from torch.overrides import TorchFunctionMode

from breastkit.bundle import Bundle
from breastkit.errors import BreastkitError, sentence_of
from breastkit.logs import get_logger
from breastkit.weights import load_weights, read_model_json

_log = get_logger(__name__)
_RANDOM = (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_, torch.Tensor.normal_, torch.Tensor.uniform_)


class WithoutInitialValues(TorchFunctionMode):
    """Networks made in it draw no random weights: for those that get others at once, which have to be all of them."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Calls a function of torch, unless it draws initial values."""
        options = kwargs or {}
        if function in _RANDOM:
            return options["tensor"] if "tensor" in options else args[0]
        return function(*args, **options)


class OpenedBundle:
    """The parts of a bundle's ``configs/inference.json``, its weights loaded once and checked.

    Args:
        bundle: which one.
        weights: a weights file or the folder it is in; those in use by default.
        overrides: ids of the config and their values, for example ``backend="torch"``.

    Attributes:
        name: of the bundle.
        facts: what the ``model.json`` beside the weights says.
        preprocessing: from a dictionary with paths or arrays to one with ``image`` as the network takes it.
        network: in evaluation mode.
        inferer: runs the network.

    Raises:
        BreastkitError: if the weights are missing, damaged or of another network.
    """

    def __init__(self, bundle: Bundle, *, weights: str | Path | None = None, **overrides: Any) -> None:
        self.name = bundle.name
        self.weights = bundle.chosen_weights(weights)
        self.facts = read_model_json(self.weights)
        if self.weights != bundle.shipped_weights:
            _log.info("%s runs with %s.", bundle.name, self.weights)
        self._parser = ConfigParser()
        self._parser.read_config(str(bundle.folder / "configs" / "inference.json"))
        self._parser.update({"bundle_root": str(bundle.folder), "ckpt_path": str(self.weights), **overrides})
        self.preprocessing: Compose = self.part("preprocessing")
        self.inferer = self.part("inferer")
        with WithoutInitialValues():
            self.network = self.part("network").eval()
        load_weights(self.weights, self.network)

    def part(self, name: str) -> Any:
        """Returns what the config makes of an id.

        Raises:
            BreastkitError: if the id cannot be made for a reason the user can put right.
        """
        try:
            return self._parser.get_parsed_content(name)
        except Exception as error:  # MONAI wraps whatever an expression raises
            sentence = sentence_of(error)
            if sentence is None:
                raise
            raise BreastkitError(sentence) from error

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        device: torch.device = self.part("device")
        return device

    def run(self, prepared: dict[str, Any]) -> torch.Tensor:
        """Returns the inferer's output for one prepared picture, without the batch's axis, on the CPU."""
        return self.run_all([prepared])[0]

    def run_all(self, prepared: Sequence[dict[str, Any]]) -> torch.Tensor:
        """Returns the inferer's output for prepared pictures of one size, along the first axis, on the CPU."""
        # One alone is not copied: it may be a volume.
        images = torch.stack([one["image"] for one in prepared]) if len(prepared) > 1 else prepared[0]["image"][None]
        with torch.no_grad():
            output: torch.Tensor = self.inferer(images.to(self.device), self.network)
        return output.cpu()

    def back_on_picture(self, square: torch.Tensor, prepared: dict[str, Any]) -> torch.Tensor:
        """Returns what was made on the network's grid, ``(channels, rows, columns)``, on the picture's own."""
        undo = Invertd(keys="square", transform=self.preprocessing, orig_keys="image", nearest_interp=False)
        restored: torch.Tensor = undo({"square": MetaTensor(square), "image": prepared["image"]})["square"]
        return restored
