"""What a request may say: JSON of known size whose texts are no expressions, and the options that are read of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Body, File, Form, Query, UploadFile
from fastapi import Path as InPath
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from breastkit.errors import BreastkitError
from breastkit.server.labels.reviews import Decision
from breastkit.server.labels.saved_labels import ORIGINAL, READER_PATTERN, TAG_PATTERN
from breastkit.server.security.download_links import without_link
from breastkit.server.security.users import Role

Options = TypeVar("Options", bound=BaseModel)
_LONGEST = 64 * 1024
_DEEPEST = 8

ModelName = Annotated[str, InPath(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
StrategyName = Annotated[str, InPath(pattern=r"^[a-z_]{1,32}$")]
# With what makes a link of it left aside.
ImageId = Annotated[str, BeforeValidator(without_link), Query(max_length=256, pattern=r"^[^/\\\x00-\x1f]*$")]
Tag = Annotated[str, Query(pattern=rf"^({TAG_PATTERN}|{READER_PATTERN})?$")]
ReaderName = Annotated[str, Query(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Version = Annotated[int | None, Query(ge=1, le=999_999)]
LabelExtension = Annotated[Literal[".nrrd", ".nii.gz"] | None, Query()]
Params = Annotated[str, Form()]
JsonBody = Annotated[Any, Body()]
Upload = Annotated[UploadFile, File()]
MaybeUpload = Annotated[UploadFile | None, File()]
Uploads = Annotated[list[UploadFile], File()]
SessionId = Annotated[str, InPath(pattern=r"^[0-9a-f]{32}$")]


class InferenceOptions(BaseModel):
    """What is read of the parameters of an inference; viewers send more, which is left aside."""

    model_config = ConfigDict(extra="ignore")

    result_extension: Literal[".nrrd", ".nii.gz", ".nii", ".png"] = ".nrrd"
    result_compress: bool = True
    save_label: bool = False


class BatchOptions(BaseModel):
    """What is read of the parameters of a model over many images."""

    model_config = ConfigDict(extra="ignore")

    label_tag: str = Field(default=ORIGINAL, pattern=rf"^{TAG_PATTERN}$")
    max_batch_size: int = Field(default=0, ge=0)


class ChoosingOptions(BaseModel):
    """What is read of the parameters of a choice of the next image; viewers send more, which is left aside."""

    model_config = ConfigDict(extra="ignore")

    client_id: str | None = None
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1)
    review: bool = False


class ReviewOptions(BaseModel):
    """What is read of the parameters of a reviewer's decision."""

    model_config = ConfigDict(extra="ignore")

    review: Literal[Decision.APPROVE, Decision.SEND_BACK, Decision.CHOOSE]
    reader: str = Field(default="", pattern=r"^[A-Za-z0-9._,-]{0,1000}$")
    remark: str = Field(default="", max_length=2000)


class TrainingOptions(BaseModel):
    """What is read of the parameters of a training, as far as an administrator may go."""

    model_config = ConfigDict(extra="ignore")

    max_epochs: int = Field(default=20, ge=1, le=1000)
    batch_size: int = Field(default=4, ge=1, le=64)
    learning_rate: float = Field(default=1e-4, gt=0, le=1e-2)


class AnnotatorTrainingOptions(TrainingOptions):
    """The same, as far as an annotator may go: an hour of training, and no steps that undo what was learned before."""

    max_epochs: int = Field(default=20, ge=1, le=200)
    batch_size: int = Field(default=4, ge=1, le=16)
    learning_rate: float = Field(default=1e-4, gt=0, le=1e-3)


def training_options_for(role: Role) -> type[TrainingOptions]:
    """Returns how far a role may go with the parameters of a training."""
    return TrainingOptions if role is Role.ADMIN else AnnotatorTrainingOptions


def read_params(text: str) -> dict[str, Any]:
    """Returns the parameters of a request.

    Raises:
        BreastkitError: if they are no JSON object, too long, or hold what a config would take for an expression.
    """
    if len(text) > _LONGEST:
        raise BreastkitError(f"The parameters are longer than {_LONGEST // 1024} KiB; send fewer.")
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise BreastkitError("The parameters are no JSON; send an object.") from error
    return checked_params(value)


def checked_params(value: Any) -> dict[str, Any]:
    """Returns parameters that are an object without expressions.

    Raises:
        BreastkitError: if they are not.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BreastkitError("The parameters are no JSON object; send one.")
    _refuse_expressions(value, 0)
    return value


def options_of(kind: type[Options], params: dict[str, Any]) -> Options:
    """Returns the options that are read of parameters.

    Raises:
        BreastkitError: if one is of the wrong type or out of range.
    """
    try:
        return kind.model_validate(params)
    except ValidationError as error:
        wrong = {str(item["loc"][0]): item.get("ctx", {}) for item in error.errors()}
        names = ", ".join(f"{name}{_bound(wrong[name])}" for name in sorted(wrong))
        raise BreastkitError(f"{names} has no value that is allowed; correct it or leave it out.") from error


def _bound(given: dict[str, Any]) -> str:
    """Returns the bound that a value is beyond, of numbers that have one."""
    bounds = {"le": "at most", "ge": "at least", "gt": "more than"}
    return "".join(f" ({words} {given[bound]:g} for you)" for bound, words in bounds.items() if bound in given)


def _refuse_expressions(value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise BreastkitError("The parameters are nested too deeply; send plain ones.")
    if isinstance(value, str) and value.lstrip().startswith(("$", "@", "%")):
        raise BreastkitError("A parameter begins like an expression ($, @, %), which is never run here; change it.")
    if isinstance(value, str) and not value.isascii() and value.encode("utf-8", "replace").decode() != value:
        raise BreastkitError("A parameter holds half a character, which no file can keep; correct the text.")
    items = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        _refuse_expressions(item, depth + 1)


def received(file: UploadFile, folder: Path, stem: str = "sent") -> Path:
    """Writes an upload into a folder under a name of ours; of the client's only the suffix is used."""
    name = str(file.filename or "").lower()
    suffix = next((end for end in (".nii.gz", ".nii", ".nrrd", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
                   if name.endswith(end)), ".unknown")  # fmt: skip
    path = folder / f"{stem}{suffix}"
    path.write_bytes(file.file.read())
    return path
