"""What an annotator points at in an image, as MONAI Label's clients send it with a request to a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from breastkit.errors import BreastkitError
from breastkit.server.security.request_values import options_of

# More than anybody makes by hand; a network learns to follow six.
MOST_CLICKS = 100
# What 3D Slicer calls the layers that scribbles are drawn in.
ADD_SCRIBBLES, REMOVE_SCRIBBLES = "foreground_scribbles", "background_scribbles"

Voxel = tuple[int, int, int]


def _whole(value: Any) -> Any:
    """Rounds the coordinates of points: viewers place them between voxels."""
    return [round(one) if isinstance(one, float) and abs(one) < 1e9 else one for one in value]


Point = Annotated[Voxel, BeforeValidator(_whole)]
Region = Annotated[tuple[int, int, int, int, int, int], BeforeValidator(_whole)]


class _Pointed(BaseModel):
    """Points that add and that remove, and a box: first and last column, row and slice, in any order."""

    model_config = ConfigDict(extra="ignore")

    foreground: list[Point] = []
    background: list[Point] = []
    named: list[Point] = []
    roi: Region | None = None


class _Layer(BaseModel):
    """A layer of a label file: its name and its number."""

    model_config = ConfigDict(extra="ignore")

    name: str
    id: int = Field(ge=0)


class _Layers(BaseModel):
    model_config = ConfigDict(extra="ignore")

    label_info: list[_Layer] = []


@dataclass(frozen=True)
class Scribbles:
    """Strokes in a label file.

    Attributes:
        path: the file, as the client sent it.
        add: the number of strokes over what is to be outlined.
        remove: that of strokes over what is not.
    """

    path: Path
    add: int
    remove: int


@dataclass(frozen=True)
class ImagePrompts:
    """All that was pointed at in an image, in its voxels: [column, row, slice].

    Attributes:
        add: points of what is to be outlined.
        remove: points of what is not.
        box: around what is to be outlined: its first voxel and its last.
        scribbles: strokes, of models that take such.
    """

    add: tuple[Voxel, ...] = ()
    remove: tuple[Voxel, ...] = ()
    box: tuple[Voxel, Voxel] | None = None
    scribbles: Scribbles | None = None

    def __bool__(self) -> bool:
        return bool(self.add or self.remove or self.box or self.scribbles)


def prompts_of(params: Mapping[str, Any], labels: Iterable[str], scribbles: Path | None = None) -> ImagePrompts:
    """Returns the prompts of a request.

    Args:
        params: the parameters: ``foreground`` and ``background``, also under the name of a label as models of the type
            deepedit are sent them, ``roi``, and ``label_info`` that names the layers of scribbles.
        labels: of the model.
        scribbles: a label file that was sent along.

    Raises:
        BreastkitError: if they are no points and no box, or too many.
    """
    # An empty list stands for no box in 3D Slicer.
    sent = {key: value for key, value in params.items() if key in ("foreground", "background", "roi") and value}
    named = [point for label in labels for point in _list_of(params.get(label), label)]
    pointed = options_of(_Pointed, {**sent, "named": named})
    add, remove = (*pointed.foreground, *pointed.named), tuple(pointed.background)
    if len(add) + len(remove) > MOST_CLICKS:
        raise BreastkitError(
            f"{len(add) + len(remove)} clicks were sent and at most {MOST_CLICKS} are followed; nothing was changed, "
            "correct the rest with the brush."
        )
    # A click twice at one place says no more than once.
    return ImagePrompts(
        tuple(dict.fromkeys(add)),
        tuple(dict.fromkeys(remove)),
        _box_of(pointed.roi),
        _scribbles_of(params, scribbles) if scribbles else None,
    )


def _list_of(value: Any, name: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise BreastkitError(
            f"The clicks of '{name}' are no list of [column, row, slice]; send such or leave them out."
        )
    return value


def _box_of(roi: tuple[int, int, int, int, int, int] | None) -> tuple[Voxel, Voxel] | None:
    if roi is None:
        return None
    # Axes of the voxels may run against those that the box was drawn in.
    first, last = zip(*(sorted(roi[axis : axis + 2]) for axis in (0, 2, 4)), strict=True)
    return (first[0], first[1], first[2]), (last[0], last[1], last[2])


def _scribbles_of(params: Mapping[str, Any], path: Path) -> Scribbles:
    sent = {"label_info": params.get("label_info") or []}
    numbers = {layer.name: layer.id for layer in options_of(_Layers, sent).label_info}
    if not {ADD_SCRIBBLES, REMOVE_SCRIBBLES} <= set(numbers):
        raise BreastkitError(
            f"A label file was sent and label_info names no layers {ADD_SCRIBBLES} and {REMOVE_SCRIBBLES} of it; name "
            "them with their numbers."
        )
    return Scribbles(path, numbers[ADD_SCRIBBLES], numbers[REMOVE_SCRIBBLES])
