"""Models that follow an annotator: clicks that add and remove, and a box."""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breastkit.bundle import Bundle
from breastkit.errors import BreastkitError
from breastkit.inference.prompted import Box, PromptedSegmenter, Prompts, mask_of
from breastkit.server.models.prompts import ImagePrompts, Voxel
from breastkit.server.models.served_models import FileOf, Prediction, ServedModel, label_map, name_of
from breastkit.server.studies.study_images import Frames, StudyImage, frames_of
from breastkit.server.studies.study_phases import PhasesOf, phases_beside
from breastkit.transforms.prompts import Click

# How many images somebody may be working on at once, and how many answers of each are kept: clicks can be undone.
_IMAGES, _ANSWERS = 8, 24
# Of pictures and clips in memory.
_MOST_BYTES = 2**28


class PromptedModel(ServedModel):
    """A model that follows prompts; without any it outlines on its own."""

    @property
    def told_labels(self) -> dict[str, int]:
        """The labels, and beside them what 3D Slicer has the points of that remove."""
        return {**self.labels, "background": 0}

    def predict(self, image: StudyImage, file_of: FileOf, phases_of: PhasesOf = phases_beside) -> Prediction:
        """Runs the model on an image without any prompt."""
        return self.follow(image, ImagePrompts(), file_of, phases_of)

    def refuse_scribbles(self, prompts: ImagePrompts) -> None:
        """Refuses a label file for a model of clicks and boxes.

        Raises:
            BreastkitError: if there is one.
        """
        if prompts.scribbles is not None:
            raise BreastkitError(f"{self.name} follows clicks and a box, no scribbles; send those.")

    @abstractmethod
    def follow(
        self, image: StudyImage, prompts: ImagePrompts, file_of: FileOf, phases_of: PhasesOf = phases_beside
    ) -> Prediction:
        """Runs the model on an image that somebody pointed at something in.

        Args:
            image: of a store, or lent.
            prompts: all of them, those of earlier requests too.
            file_of: gives an image as one file.
            phases_of: gives the phases of the study that an image belongs to.

        Raises:
            BreastkitError: if a prompt lies where there is nothing to outline.
        """


class PromptedSegmentation(PromptedModel):
    """Weights of a segmentation bundle of pictures that follow clicks and boxes.

    Args:
        bundle: which one.
        architecture: of the weights.
    """

    def __init__(self, bundle: Bundle, architecture: str) -> None:
        super().__init__(bundle, name=name_of(bundle, architecture))
        self.task = "deepedit"
        self.description = f"{self.description} Follows clicks that add and remove, and a box."
        self._weights = bundle.further_weights[architecture]

    def weights(self) -> list[Path]:
        """Returns the weights that follow prompts, and those that outline on their own."""
        return [self._weights, self.bundle.weights_in_use]

    def open(self) -> _Answers:
        """Loads the network."""
        return _Answers(PromptedSegmenter(self.bundle, self._weights))

    def follow(
        self, image: StudyImage, prompts: ImagePrompts, file_of: FileOf, phases_of: PhasesOf = phases_beside
    ) -> Prediction:
        """Outlines the frames of a picture or clip that somebody pointed at; all of them where nobody did."""
        self.refuse_other_form(image)
        self.refuse_scribbles(prompts)
        answers: _Answers = self.opened()
        frames = answers.frames(image)
        of_frame = _by_frame(prompts, frames) if prompts else dict.fromkeys(range(len(frames)), Prompts())
        masks = [
            answers.mask(image, number, of_frame[number]) if number in of_frame else np.zeros(gray[window].shape, bool)
            for number, (gray, window) in enumerate(frames)
        ]
        (number,) = self.labels.values()
        return Prediction(label_map(masks, frames, number), image.affine, {})


class _Answers:
    """What a network outlined lately, by picture and prompts, so that the next click begins where the last one led to.

    Inferences run one at a time, so it needs no lock.

    Args:
        segmenter: outlines.
    """

    def __init__(self, segmenter: PromptedSegmenter) -> None:
        self.segmenter = segmenter
        self._frames: OrderedDict[Any, Frames] = OrderedDict()
        self._known: OrderedDict[Any, OrderedDict[Prompts, NDArray[np.float16]]] = OrderedDict()

    def frames(self, image: StudyImage) -> Frames:
        """Returns the pictures of an image, read once."""
        key = _version_of(image)
        if key not in self._frames:
            self._frames[key] = frames_of(image)
            while len(self._frames) > 1 and sum(map(_bytes, self._frames.values())) > _MOST_BYTES:
                self._frames.popitem(last=False)
        frames: Frames = _latest(self._frames, key)
        return frames

    def mask(self, image: StudyImage, number: int, prompts: Prompts) -> NDArray[np.bool_]:
        """Returns what is outlined of tissue in a frame after prompts."""
        gray, window = self.frames(image)[number]
        key = (*_version_of(image), number)
        known = _latest(self._known, key) if key in self._known else self._known.setdefault(key, OrderedDict())
        if prompts not in known:
            known[prompts] = self._answer(gray[window], prompts, known).astype(np.float16)
        while len(known) > _ANSWERS:
            known.popitem(last=False)
        return mask_of(known[prompts], prompts)

    def _answer(self, gray: NDArray[Any], prompts: Prompts, known: dict[Prompts, NDArray[Any]]) -> NDArray[Any]:
        """Returns the probabilities after prompts, beginning with the answer to most of them, which the new correct."""
        nearest = max((one for one in known if _begins(one, prompts)), key=_size, default=None)
        if nearest is None:
            nearest = Prompts(box=prompts.box)
            known[nearest] = self.segmenter.start(gray, prompts.box).astype(np.float16)
        before = known[nearest].astype(np.float32)
        return before if nearest == prompts else self.segmenter.follow(gray, prompts, before)


def _version_of(image: StudyImage) -> tuple[Any, ...]:
    # A file that was sent along may have the name of another one.
    return tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in image.files)


def _bytes(frames: Frames) -> int:
    return sum(gray.nbytes for gray, _ in frames)


def _latest(kept: OrderedDict[Any, Any], key: Any) -> Any:
    kept.move_to_end(key)
    while len(kept) > _IMAGES:
        kept.popitem(last=False)
    return kept[key]


def _begins(one: Prompts, other: Prompts) -> bool:
    return one.box == other.box and set(one.clicks) <= set(other.clicks)


def _size(prompts: Prompts) -> int:
    return len(prompts.clicks)


def _by_frame(prompts: ImagePrompts, frames: Frames) -> dict[int, Prompts]:
    """Returns the prompts of each frame, on what it shows of tissue.

    Raises:
        BreastkitError: if one lies elsewhere.
    """
    clicks: dict[int, list[Click]] = {}
    for point, inside in [*((one, True) for one in prompts.add), *((one, False) for one in prompts.remove)]:
        row, column, number = _on_tissue(point, frames)
        clicks.setdefault(number, []).append(Click(row, column, inside))
    boxes = _boxes(prompts.box, frames) if prompts.box is not None else {}
    # In an order of its own, so that the same points are the same prompts whichever came first.
    return {number: Prompts(tuple(sorted(clicks.get(number, ()))), boxes.get(number)) for number in {*clicks, *boxes}}


def _on_tissue(point: Voxel, frames: Frames) -> tuple[int, int, int]:
    column, row, number = point
    rows, columns = frames[0][0].shape
    if not (0 <= column < columns and 0 <= row < rows and 0 <= number < len(frames)):
        raise BreastkitError(
            f"The click {list(point)} lies outside of the image, which has {columns} columns, {rows} rows and "
            f"{len(frames)} frame{'s' * (len(frames) > 1)}; nothing was changed, click on the picture."
        )
    (top, bottom, _), (left, right, _) = (
        part.indices(length) for part, length in zip(frames[number][1], (rows, columns), strict=True)
    )
    if not (top <= row < bottom and left <= column < right):
        raise BreastkitError(
            f"The click {list(point)} lies beside the part of the picture that shows tissue; nothing was changed, "
            "click on tissue."
        )
    return row - top, column - left, number


def _boxes(box: tuple[Voxel, Voxel], frames: Frames) -> dict[int, Box]:
    (left, top, first), (right, bottom, last) = box
    found = {}
    for number in range(max(0, first), min(len(frames), last + 1)):
        gray, window = frames[number]
        (above, below, _), (before, behind, _) = (
            part.indices(length) for part, length in zip(window, gray.shape, strict=True)
        )
        inside = Box(max(top, above) - above, max(left, before) - before, min(bottom + 1, below) - above,
                     min(right + 1, behind) - before)  # fmt: skip
        if inside.top < inside.bottom and inside.left < inside.right:
            found[number] = inside
    if not found:
        raise BreastkitError("The box holds nothing of the picture; nothing was changed, draw it around the lesion.")
    return found
