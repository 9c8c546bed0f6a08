"""What is chosen on the validation cases after training has one thing in common: the best weights, run over them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from monai.inferers import Inferer
from torch import nn
from torch.utils.data import DataLoader

from breastkit.atomic import atomic_path
from breastkit.progress import track
from breastkit.training.curves import write_table
from breastkit.training.distributed import is_main
from breastkit.weights import load_weights

THRESHOLDS = "thresholds.csv"


@dataclass(eq=False)
class ValidationSearch(ABC):
    """Base of the searches after training, which run in every process.

    Args:
        folder: the run's output folder, with the best weights.
        network: the network itself; it gets these weights.
        dataloader: the validation cases.
        inferer: how the network is run on a batch.
        device: where to compute.
    """

    folder: Path
    network: nn.Module
    dataloader: DataLoader[Any]
    inferer: Inferer
    _: KW_ONLY
    device: torch.device

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)

    def run(self) -> Any:
        """Searches, writes, and returns what was chosen."""
        # The main process may still be writing what the last epoch or search has made.
        idist.barrier()
        with torch.inference_mode():
            chosen = self.choose()
        idist.barrier()
        return chosen

    @abstractmethod
    def choose(self) -> Any:
        """Looks at the `outputs`, writes what it found from the main process, and returns what it chose."""

    def outputs(self, text: str) -> Iterator[tuple[torch.Tensor, Mapping[str, Any]]]:
        """Yields what the network with the best weights makes of each batch, and the batch.

        Args:
            text: what the progress bar says.
        """
        load_weights(self.folder, self.network)
        self.network.eval()
        for batch in track(self.dataloader, text, unit="batch") if is_main() else self.dataloader:
            yield self.inferer(batch["image"].to(self.device), self.network), batch

    def write_sweep(self, rows: Sequence[dict[str, float]], best: float, *, title: str, of: str) -> None:
        """Writes ``thresholds.csv``, and ``thresholds.png`` with the figures over the threshold and the best marked.

        Args:
            rows: a ``threshold`` and its figures each.
            best: the threshold chosen.
            title: of the picture.
            of: what the figures are of.
        """
        from matplotlib.figure import Figure

        write_table(self.folder / THRESHOLDS, list(rows))
        figure = Figure(figsize=(5.5, 4), layout="constrained")
        axes = figure.subplots()
        thresholds = [row["threshold"] for row in rows]
        for name in (name for name in rows[0] if name != "threshold"):
            axes.plot(thresholds, [row[name] for row in rows], marker=".", label=name)
        axes.axvline(best, color="tab:orange", linestyle="--", label=f"best: {best:.2f}")
        axes.set(title=title, xlabel="threshold", ylabel=of)
        axes.grid(alpha=0.3)
        axes.legend()
        with atomic_path(self.folder / "thresholds.png") as temporary:
            figure.savefig(temporary, dpi=110)
