"""What a pipeline found in one study or picture: a value that says all a writer may want to tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from breastkit.dce.correction import REFERENCE, Motion
from breastkit.dce.glands import GlandMeasures
from breastkit.dce.phases import DcePhases
from breastkit.dce.sides import breasts_by_side
from breastkit.dce.voxel_box import VoxelBox
from breastkit.dicom import Series, is_dicom
from breastkit.dicom.derived_objects import Side
from breastkit.dicom.source_images import SourceImages, read_source_images
from breastkit.dicom.write_seg import Algorithm
from breastkit.inference.ultrasound import Reading
from breastkit.inference.ultrasound_inputs import UltrasoundPicture

SIDE_LABELS = {Side.RIGHT: 1, Side.LEFT: 2}


@dataclass(frozen=True)
class Measurement:
    """One thing that was measured.

    Attributes:
        name: as tables call it.
        value: a number, a word, or None where it could not be measured.
        unit: of the number, as UCUM writes it; ``1`` where it has none.
    """

    name: str
    value: float | str | None
    unit: str = "1"


@dataclass(frozen=True)
class Model:
    """Weights that took part.

    Attributes:
        role: what they did.
        architecture: of the network.
        sha256: of the weights.
        limits: the figures stored with them that decided, by name.
    """

    role: str
    architecture: str
    sha256: str
    limits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A lesion with its outline.

    Attributes:
        score: how sure it is that there is one, 0 to 1.
        mask: on the grid of the study or picture, bool.
        measurements: what was measured of it, in the order of tables.
        probability: of every voxel or pixel to belong to it, where that was to be kept.
    """

    score: float
    mask: NDArray[Any]
    measurements: tuple[Measurement, ...] = ()
    probability: NDArray[Any] | None = None


@dataclass(frozen=True, kw_only=True)
class StudyLesion(Lesion):
    """A lesion of a study in three dimensions.

    Attributes:
        box: around its mask, on the study's own grid.
        side: of the patient, where the plane between both breasts is plain.
        quadrant: of that breast, for example ``upper outer``.
        clock: the hour it lies at, seen from the front; None next to the nipple's axis.
    """

    box: VoxelBox
    side: Side | None = None
    quadrant: str | None = None
    clock: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyFindings:
    """What holds for studies and pictures alike.

    Attributes:
        name: of the study, or what the files of a picture begin with.
        sources: what was read, in order: files or DICOM series.
        lesions: the surest first.
        doubts: sentences on what may be wrong.
        models: the weights that took part.
        made_images: DICOM images that were made of input that is none, see `breastkit.findings.dicom_images`.
        package: version of this package.
    """

    name: str
    sources: tuple[Path | Series, ...]
    lesions: tuple[Lesion, ...]
    doubts: tuple[str, ...]
    models: tuple[Model, ...]
    made_images: tuple[Path | Series, ...] = ()
    package: str = field(default_factory=lambda: version("breastkit"))

    @property
    def is_dicom(self) -> bool:
        """Whether there are DICOM images of all that was read."""
        return all(isinstance(source, Series) or is_dicom(source) for source in self.images)

    @property
    def images(self) -> tuple[Path | Series, ...]:
        """The DICOM images that objects made of it refer to: what was read, or what was made of that."""
        return self.made_images or self.sources

    @property
    def uid_source(self) -> str:
        """What identifiers of DICOM objects made of it follow from, beside those of its images: the weights."""
        return " ".join(f"{model.role}:{model.sha256}" for model in self.models)

    def algorithm(self, role: str) -> Algorithm | None:
        """Returns the model of a role as DICOM objects name it, None where it took no part."""
        for model in self.models:
            if model.role == role:
                return Algorithm(f"breastkit {role} {model.architecture}"[:64], model.sha256)
        return None


@dataclass(frozen=True, kw_only=True, eq=False)
class MriFindings(StudyFindings):
    """What was found in a dynamic breast MRI study.

    Attributes:
        lesions: the surest first.
        phases: the images, the one before contrast first, and the grid that masks and boxes lie on.
        breast: mask of the breasts.
        breast_probability: of every voxel to belong to them, where that was to be kept.
        not_outlined: boxes of further candidates, which were less sure.
        skipped: what was left aside, and why.
        midline: where the plane between both breasts lies, see `breastkit.dce.sides`; None where it is not plain.
        motions: how each phase lay against the one that is outlined; None where that could not be told.
        left_mm: phases that had moved by more millimetres were moved back.
        glands: mask of fibroglandular tissue, without lesions; None where it was not looked for.
        tissue: what is measured of the breasts, by side as in `breasts`.
        outlined_on: the phase that the outlines are shown on.
    """

    outlined_on: ClassVar[int] = REFERENCE

    lesions: tuple[StudyLesion, ...]
    phases: DcePhases
    breast: NDArray[Any]
    breast_probability: NDArray[Any] | None = None
    not_outlined: tuple[VoxelBox, ...] = ()
    skipped: tuple[tuple[Path, str], ...] = ()
    midline: float | None = None
    motions: tuple[Motion | None, ...] = ()
    left_mm: float = math.inf
    glands: NDArray[Any] | None = None
    tissue: Mapping[Side | None, GlandMeasures] = field(default_factory=dict)

    @cached_property
    def source_images(self) -> tuple[SourceImages, ...]:
        """What DICOM objects must know of the images, read once for all of them; first those that the outlines lie on.

        Patient and study are taken from the first.
        """
        outlined = self.made_images[0] if self.made_images else self.sources[self.outlined_on]
        return tuple(map(read_source_images, (outlined, *(each for each in self.images if each is not outlined))))

    def breasts(self) -> dict[Side | None, NDArray[Any]]:
        """The mask of each breast by its side; where it is not plain which is which, both are one without a side."""
        return breasts_by_side(self.breast, self.phases.grid, self.midline)

    @property
    def sides(self) -> NDArray[np.uint8]:
        """Both breasts as one volume: 1 is the patient's right one, 2 the left one; 0 where it is not plain which."""
        labels = np.zeros(self.phases.shape, dtype=np.uint8)
        for side, mask in self.breasts().items():
            if side is not None:
                labels[mask] = SIDE_LABELS[side]
        return labels

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The lesions as one volume: 0 is none, 1 the first, 2 the next and so on."""
        labels = np.zeros(self.phases.shape, dtype=np.uint8)
        for number, lesion in enumerate(self.lesions, start=1):
            labels[lesion.mask] = number
        return labels


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureFindings(StudyFindings):
    """What was found in a breast ultrasound picture, or in one frame of a clip.

    Attributes:
        file: what tables call it.
        picture: the image, and which part of it shows tissue.
        reading: of the tissue: class, calibrated probabilities, uncertainty, and what mattered for the class.
        quality: codes of what may be wrong with the picture, see `breastkit.inference.picture_quality`.
        frame: of a clip, from 0.
        case: the lesion or patient it is a view of, where answers are wanted by case.
    """

    file: str
    picture: UltrasoundPicture
    reading: Reading
    quality: tuple[str, ...] = ()
    frame: int | None = None
    case: str | None = None

    @property
    def object_name(self) -> str:
        """What files begin with that are written once for all frames of a clip."""
        return self.name if self.frame is None else self.name.rpartition("_frame")[0]

    @property
    def mask(self) -> NDArray[Any]:
        """The outlined lesion on the whole picture."""
        return self.picture.on_whole(self.reading.mask)

    @property
    def probability(self) -> NDArray[Any]:
        """Of every pixel of the whole picture to belong to a lesion."""
        return self.picture.on_whole(self.reading.probability)
