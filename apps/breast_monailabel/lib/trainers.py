"""Bundles as MONAI Label's training tasks."""

from __future__ import annotations

from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask

from breastkit.errors import BreastkitError
from breastkit.server.models.served_models import ServedModel
from breastkit.server.security.request_values import TrainingOptions


class BundleTraining(TrainTask):
    """One model that labels train; the server starts it as a process of its own.

    Args:
        model: a bundle.
    """

    def __init__(self, model: ServedModel) -> None:
        super().__init__(f"Trains {model.name} on the saved labels; used only if it is not worse")
        self.model = model

    def config(self) -> dict[str, Any]:
        """Returns the options that viewers show."""
        return TrainingOptions().model_dump()

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> Any:
        """Refuses: training never runs inside the server."""
        raise BreastkitError("Training runs as a process of its own; start it through /train/.")
