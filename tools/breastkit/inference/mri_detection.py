"""The detection bundle's network as a function of a study: what the chain and the segmenter ask where to look."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from breastkit.bundle import Bundle, Role, bundle_for
from breastkit.dce.phases import DEFAULT_CHANNELS, DcePhases
from breastkit.detection.boxes_file import Detection
from breastkit.errors import BreastkitError


class LesionDetector:
    """Finds lesions in studies.

    Args:
        weights: of the detector, a file or the folder it is in; those in use by default.
        bundle: which one; by default the one there is.

    Raises:
        BreastkitError: if there are none.
    """

    def __init__(self, weights: str | Path | None = None, *, bundle: Bundle | None = None) -> None:
        bundle = bundle or bundle_for(Role.DETECTION)
        if weights is None and not bundle.weights_in_use.is_file():
            raise BreastkitError(
                f"{bundle.weights_in_use} does not exist, so nothing says where lesions are; give --boxes, or train "
                f"{bundle.name} and give its weights with --detector."
            )
        self.bundle = bundle.opened(weights=weights)
        self.facts = self.bundle.facts

    def __call__(
        self, phases: DcePhases, *, most: int | None = None, breast: NDArray[Any] | None = None
    ) -> list[Detection]:
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
            partial(self.bundle.inferer, network=self.bundle.network),
            image_size=int(self.facts["image_size"]),
            channels=self.facts.get("channels", DEFAULT_CHANNELS),
            score=float(self.facts["threshold"]),
            most=most,
            breast=breast,
        )
