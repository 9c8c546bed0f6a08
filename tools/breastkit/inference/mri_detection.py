"""The detection bundle's network as a function of a study: what the chain and the segmenter ask where to look."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from breastkit.bundle import bundle_folder
from breastkit.dce.phases import DEFAULT_CHANNELS, DcePhases
from breastkit.errors import BreastkitError
from breastkit.inference.predictor import Predictor
from breastkit.networks import from_file
from breastkit.training.weights import load_weights, read_model_json

BUNDLE = "breast_mri_lesion_detection"


class LesionDetector:
    """Finds lesions in studies.

    Args:
        weights: of the detector, a file or the folder it is in; those of the bundle by default.

    Raises:
        BreastkitError: if there are none.
    """

    def __init__(self, weights: str | Path | None = None) -> None:
        folder = Path(bundle_folder(BUNDLE))
        path = folder / "models" / "model.pt" if weights is None else Path(weights)
        if weights is None and not path.is_file():
            raise BreastkitError(
                f"{path} does not exist, so nothing says where lesions are; give --boxes, or train {BUNDLE} and give "
                "its weights with --detector."
            )
        self.facts = read_model_json(path)
        self._network = from_file(folder / "configs" / "networks.json", self.facts["architecture"]).eval()
        load_weights(path, self._network)

    def __call__(
        self, phases: DcePhases, *, most: int | None = None, breast: np.ndarray | None = None
    ) -> list[dict[str, Any]]:
        """Returns the lesions found, on the study's own grid, the highest score first.

        Args:
            phases: the study.
            most: at most so many.
            breast: mask on the study's own grid; its slices are looked at, and only what touches it counts.
        """
        # ultralytics takes seconds to import, which those who give boxes need not wait for.
        from breastkit.detection import detect_lesions

        return detect_lesions(
            phases,
            partial(Predictor(progress=True), network=self._network),
            image_size=int(self.facts["image_size"]),
            channels=self.facts.get("channels", DEFAULT_CHANNELS),
            score=float(self.facts["threshold"]),
            most=most,
            breast=breast,
        )
