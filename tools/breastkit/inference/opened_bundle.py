"""A bundle opened for one picture at a time, by its own inference config: pages and chains keep it in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd

from breastkit.bundle import bundle_folder
from breastkit.errors import BreastkitError, sentence_of
from breastkit.training.weights import load_weights, read_model_json


class OpenedBundle:
    """The parts of a bundle's ``configs/inference.json``, its weights loaded once and checked.

    Args:
        bundle: name of the bundle, or the folder it was copied to.
        weights: a weights file or the folder it is in; by default what the bundle ships.
        overrides: ids of the config and their values, for example ``backend="torch"``.

    Attributes:
        facts: what the ``model.json`` beside the weights says.
        preprocessing: from a dictionary with paths or arrays to one with ``image`` as the network takes it.
        network: in evaluation mode.
        inferer: runs the network.

    Raises:
        BreastkitError: if the weights are missing, damaged or of another network.
    """

    def __init__(self, bundle: str, *, weights: str | Path | None = None, **overrides: Any) -> None:
        folder = Path(bundle) if Path(bundle).is_dir() else Path(bundle_folder(bundle))
        self.weights = Path(weights) if weights is not None else folder / "models"
        self.weights = self.weights / "model.pt" if self.weights.is_dir() else self.weights
        self.facts = read_model_json(self.weights)
        self._parser = ConfigParser()
        self._parser.read_config(str(folder / "configs" / "inference.json"))
        self._parser.update({"bundle_root": str(folder), "ckpt_path": str(self.weights), **overrides})
        self.preprocessing: Compose = self.part("preprocessing")
        self.inferer = self.part("inferer")
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
        return self.part("device")

    def run(self, prepared: dict[str, Any]) -> torch.Tensor:
        """Returns the inferer's output for one prepared picture, without the batch's axis, on the CPU."""
        with torch.no_grad():
            return self.inferer(prepared["image"][None].to(self.device), self.network)[0].cpu()

    def back_on_picture(self, square: torch.Tensor, prepared: dict[str, Any]) -> torch.Tensor:
        """Returns what was made on the network's grid, ``(channels, rows, columns)``, on the picture's own."""
        undo = Invertd(keys="square", transform=self.preprocessing, orig_keys="image", nearest_interp=False)
        return undo({"square": MetaTensor(square), "image": prepared["image"]})["square"]
