"""Bundles as MONAI Label's inference tasks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from breastkit.server.labels.label_files import write_labels
from breastkit.server.models.box_markups import MARKUPS_SUFFIX, write_markups
from breastkit.server.models.served_models import ServedModel
from breastkit.server.studies.sessions import image_of_file


class BundleInfer(InferTask):
    """One model.

    Args:
        model: a bundle, or a chain of them.
    """

    def __init__(self, model: ServedModel) -> None:
        super().__init__(InferType(model.task), model.told_labels, 2 if model.flat else 3, model.description)
        self.model = model

    def is_valid(self) -> bool:
        """Returns whether its weights are there."""
        return all(path.is_file() for path in self.model.weights())

    def get_path(self, validate: bool = True) -> str:
        """Returns its weights."""
        return str(self.model.weights()[0])

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Runs the model on a file and writes its label map, or its boxes.

        Args:
            request: ``image`` (a NIfTI or a picture) and ``result_extension``.
        """
        image = image_of_file(Path(request["image"]))
        prediction = self.model.predict(image, lambda one: one.files[0])
        folder = Path(tempfile.mkdtemp(prefix="breastkit-label-"))
        path = folder / f"label{request.get('result_extension', '.nrrd')}"
        if prediction.labels is None:
            path = write_markups(
                folder / f"boxes{MARKUPS_SUFFIX}", prediction.boxes, label=next(iter(self.model.labels))
            )
        else:
            write_labels(path, prediction.labels, prediction.affine)
        return str(path), {**prediction.says, "label_names": self.model.labels}
