"""What is chosen on the validation cases after training has one thing in common: the best weights, run over them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, cast

import ignite.distributed as idist
import torch
from monai.engines import SupervisedEvaluator
from monai.inferers import Inferer
from torch.utils.data import DataLoader

from breastkit.atomic import atomic_path
from breastkit.progress import track
from breastkit.tables import write_table
from breastkit.training.distributed import is_main
from breastkit.weights import load_weights

THRESHOLDS = "thresholds.csv"


@dataclass(eq=False)
class ValidationSearch(ABC):
    """Base of the searches after training, which run in every process.

    Args:
        folder: the run's output folder, with the best weights.
        evaluator: the run's engine that validates; its network gets these weights.
        dataloader: the validation cases, where it is not to be those of the evaluator.
        inferer: how the network is run on a batch, where not as the evaluator does.
    """

    folder: Path
    evaluator: SupervisedEvaluator
    _: KW_ONLY
    dataloader: DataLoader[Any] | None = None
    inferer: Inferer | None = None

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)

    @property
    def batches(self) -> DataLoader[Any]:
        """What is looked at."""
        return cast("DataLoader[Any]", self.dataloader or self.evaluator.data_loader)

    @property
    def cases(self) -> int:
        """How many cases that are, as the data set says."""
        dataset: Any = self.batches.dataset
        return int(dataset.cases)

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
        network, inferer = self.evaluator.network, self.inferer or self.evaluator.inferer
        load_weights(self.folder, network)
        network.eval()
        for batch in track(self.batches, text, unit="batch") if is_main() else self.batches:
            yield inferer(batch["image"].to(self.evaluator.state.device), network), batch

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
