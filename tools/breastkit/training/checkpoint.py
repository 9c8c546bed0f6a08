"""The checkpoint of a run: written after every epoch, read when the same command is given again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from ignite.engine import Engine, Events

from breastkit.atomic import atomic_path
from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.training.distributed import is_main

FILE_NAME = "checkpoint.pt"
logger = get_logger(__name__)


class Stateful(Protocol):
    """Something whose state can be taken and given back."""

    def state_dict(self) -> Mapping[str, Any]:
        """Returns the state as tensors, numbers, strings and containers of these."""

    def load_state_dict(self, state: Mapping[str, Any]) -> Any:
        """Takes a state back."""


def keep_state(engine: Engine, name: str, part: Stateful) -> None:
    """Makes a handler's state part of the checkpoint of the engine it is attached to."""
    engine.__dict__.setdefault("kept_states", {})[name] = part


class Checkpoint:
    """Handler that writes network, optimiser, engine and handlers' states after every epoch, and restores them.

    Stands last among the handlers, so that what it writes is the state after the whole epoch. Random numbers need no
    place in it, because `EpochSeeds` draws them from the number of the epoch.

    Args:
        folder: the run's output folder.
        parts: what to keep beside the engine and the handlers that asked for it, by name.
    """

    def __init__(self, folder: str | Path, parts: Mapping[str, Stateful]):
        self.path = Path(folder) / FILE_NAME
        self.parts = dict(parts)

    def attach(self, engine: Engine) -> None:
        """Attaches to a trainer."""
        engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def load(self, engine: Engine) -> None:
        """Restores the last epoch where there is one.

        Raises:
            BreastkitError: if the checkpoint cannot be read or is of another network.
        """
        if not self.path.is_file():
            return
        trainer: Any = engine
        remedy = "start over with --resume false"
        try:
            states = torch.load(self.path, map_location=trainer.state.device, weights_only=True)
        except Exception as error:
            raise BreastkitError(f"{self.path} is damaged; {remedy}.") from error
        try:
            for name, part in self._all_parts(engine).items():
                part.load_state_dict(states[name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise BreastkitError(f"{self.path} is of a run with other settings; restore them or {remedy}.") from error
        engine.state.epoch, engine.state.iteration = states["epoch"], states["iteration"]
        if is_main():
            logger.info("Continuing after epoch %d.", engine.state.epoch)

    def save(self, engine: Engine) -> None:
        """Writes the checkpoint in one piece."""
        if not is_main():
            return
        states = {name: part.state_dict() for name, part in self._all_parts(engine).items()}
        with atomic_path(self.path) as temporary:
            torch.save({"epoch": engine.state.epoch, "iteration": engine.state.iteration, **states}, temporary)

    def _all_parts(self, engine: Engine) -> dict[str, Stateful]:
        return {**self.parts, **getattr(engine, "kept_states", {})}
