"""The figures of every epoch as a table and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from breastkit.atomic import atomic_path
from breastkit.logs import get_logger
from breastkit.tables import write_table
from breastkit.training.checkpoint import keep_state
from breastkit.training.distributed import is_main

TABLE, PICTURE = "metrics.csv", "curves.png"
logger = get_logger(__name__)


class Curves:
    """Handler that writes ``metrics.csv`` and ``curves.png`` after every epoch and logs its figures in one line.

    Stands after the validation among the trainer's handlers. Figures whose name ends in ``loss`` share one panel, the
    others another.

    Args:
        folder: the run's output folder.
        evaluator: the engine that validates.
    """

    def __init__(self, folder: str | Path, evaluator: Engine):
        self.folder, self.evaluator = Path(folder), evaluator
        self.rows: list[dict[str, float]] = []

    def attach(self, engine: Engine) -> None:
        """Attaches to a trainer."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)
        keep_state(engine, "curves", self)

    def __call__(self, engine: Engine) -> None:
        """Adds the epoch."""
        figures = dict(engine.state.metrics)
        if self.evaluator.state.epoch == engine.state.epoch:
            figures.update(self.evaluator.state.metrics)
        row = {"epoch": engine.state.epoch, **{name: float(value) for name, value in figures.items()}}
        trainer: Any = engine
        row["learning_rate"] = float(trainer.optimizer.param_groups[0]["lr"])
        row["seconds"] = round(float(trainer.state.times["EPOCH_COMPLETED"]), 1)
        self.rows.append(row)
        if is_main():
            text = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "epoch")
            logger.info("Epoch %d/%d: %s.", engine.state.epoch, engine.state.max_epochs, text)
            write_table(self.folder / TABLE, self.rows)
            draw(self.folder / PICTURE, self.rows)

    def state_dict(self) -> Mapping[str, Any]:
        """Returns the figures so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes the figures back; epochs that a checkpoint does not know are run again."""
        self.rows = list(state["rows"])


def draw(path: Path, rows: list[dict[str, float]]) -> None:
    """Draws losses and other figures over the epochs."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for row in rows for name in row))
    losses = [name for name in names if name.endswith("loss")]
    others = [name for name in names if name not in (*losses, "epoch", "learning_rate", "seconds")]
    panels = [("Loss", losses)] + ([("Validation", others)] if others else [])
    figure = Figure(figsize=(5.5 * len(panels), 4), layout="constrained")
    for axes, (title, shown) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name in shown:
            points = [(row["epoch"], row[name]) for row in rows if name in row]
            axes.plot(*zip(*points, strict=True), marker="." if len(rows) < 40 else None, label=name)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
