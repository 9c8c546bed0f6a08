"""What is chosen on the validation cases after training has one thing in common: the best weights, run over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.inferers import Inferer
from torch import nn
from torch.utils.data import DataLoader

from breastkit.progress import track
from breastkit.training.distributed import is_main
from breastkit.weights import load_weights


class ValidationSearch:
    """Base of the searches after training.

    Args:
        folder: the run's output folder, with the best weights.
        network: the network itself; it gets these weights.
        dataloader: the validation cases.
        inferer: how the network is run on a batch.
        device: where to compute.
    """

    def __init__(
        self, folder: str | Path, network: nn.Module, dataloader: DataLoader, inferer: Inferer, *, device: torch.device
    ):
        self.folder, self.network, self.dataloader, self.inferer = Path(folder), network, dataloader, inferer
        self.device = device

    def outputs(self, text: str) -> Iterator[tuple[torch.Tensor, Mapping[str, Any]]]:
        """Yields what the network with the best weights makes of each batch, and the batch; use it without gradients.

        Args:
            text: what the progress bar says.
        """
        load_weights(self.folder, self.network)
        self.network.eval()
        for batch in track(self.dataloader, text, unit="batch") if is_main() else self.dataloader:
            yield self.inferer(batch["image"].to(self.device), self.network), batch
