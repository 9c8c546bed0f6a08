"""The model of lesions in dynamic breast MRI that follows clicks and a box."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from breastkit.bundle import Bundle
from breastkit.dce.phases import DcePhases, read_phases
from breastkit.dce.series import StudyPhases
from breastkit.dce.voxel_box import VoxelBox
from breastkit.dicom import Series
from breastkit.errors import BreastkitError
from breastkit.opened_bundle import OpenedBundle
from breastkit.pipelines.prompted_lesions import PromptedStudy, StudyPrompts
from breastkit.server.models.prompted_models import PromptedModel
from breastkit.server.models.prompts import ImagePrompts, Voxel
from breastkit.server.models.served_lesions import RegionSegmentation
from breastkit.server.models.served_models import FileOf, Prediction
from breastkit.server.studies.study_images import StudyImage
from breastkit.server.studies.study_phases import PhasesOf, phases_beside

# Studies that are kept in memory between clicks.
_STUDIES = 2


class PromptedLesions(PromptedModel):
    """A segmenter of regions in dynamic MRI: a click in one slice gives the lesion in all of them.

    Args:
        bundle: the segmenter.
    """

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, name=f"{bundle.name}_clicks")
        self.task = "deepedit"
        self.description = (
            f"{self.description} Outlines in three dimensions what is clicked on in one slice, without clicks what the "
            "detector finds."
        )
        self._automatic = RegionSegmentation(bundle)

    def weights(self) -> list[Path]:
        """Returns the weights it runs with."""
        return self._automatic.weights()

    def open(self) -> _Studies:
        """Loads the segmenter."""
        return _Studies(self.bundle.opened(weights=self.weights()[0]))

    def follow(
        self, image: StudyImage, prompts: ImagePrompts, file_of: FileOf, phases_of: PhasesOf = phases_beside
    ) -> Prediction:
        """Outlines the lesions that were pointed at; where nobody did, those that the detector finds."""
        self.refuse_other_form(image)
        if prompts.scribbles:
            raise BreastkitError(
                f"{self.name} follows clicks and a box, no scribbles; send those, nothing was changed."
            )
        if not prompts:
            return self._automatic.predict(image, file_of, phases_of)
        studies: _Studies = self.opened()
        study = studies.study(phases_of(image))
        mask = study.outlined(_in_study(prompts, study.phases))
        (number,) = self.labels.values()
        return Prediction(mask * np.uint8(number), study.phases.affine, {})


class _Studies:
    """The studies that somebody pointed at lately, read once. Inferences run one at a time, so it needs no lock.

    Args:
        segmenter: of regions, opened.
    """

    def __init__(self, segmenter: OpenedBundle) -> None:
        self.segmenter = segmenter
        self._known: OrderedDict[Any, PromptedStudy] = OrderedDict()

    def study(self, found: StudyPhases) -> PromptedStudy:
        """Returns a study, from memory where it is there."""
        key = tuple(_version_of(phase) for phase in found.all[:2])
        if key not in self._known:
            self._known[key] = PromptedStudy(read_phases(found.all[:2]), self.segmenter)
        self._known.move_to_end(key)
        while len(self._known) > _STUDIES:
            self._known.popitem(last=False)
        return self._known[key]


def _version_of(phase: Path | Series) -> Any:
    files = phase.files if isinstance(phase, Series) else (phase,)
    return tuple((path, path.stat().st_mtime_ns) for path in files)


def _in_study(prompts: ImagePrompts, phases: DcePhases) -> StudyPrompts:
    """Returns prompts as a study has them.

    Raises:
        BreastkitError: if one lies outside of it.
    """
    for point in (*prompts.add, *prompts.remove):
        if not all(0 <= at < length for at, length in zip(point, phases.shape, strict=True)):
            columns, rows, slices = phases.shape
            raise BreastkitError(
                f"The click {list(point)} lies outside of the study, which has {columns} columns, {rows} rows and "
                f"{slices} slices; nothing was changed, click on the breast."
            )
    return StudyPrompts(prompts.add, prompts.remove, _box_in(prompts.box, phases))


def _box_in(box: tuple[Voxel, Voxel] | None, phases: DcePhases) -> VoxelBox | None:
    if box is None:
        return None
    ends = [slice(max(0, low), min(high + 1, length)) for low, high, length in zip(*box, phases.shape, strict=True)]
    inside = VoxelBox.of_window(tuple(ends), phases.grid)
    if not inside.inside:
        raise BreastkitError("The box holds nothing of the study; nothing was changed, draw it around the lesion.")
    return inside
