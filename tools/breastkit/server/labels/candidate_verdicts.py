"""What readers said of the candidates that models list: kept or rejected, by image, for the next time they are listed.

One file an image, with the last word on every place; how many a model's were kept says how far it can be trusted here.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from breastkit.atomic import write_json
from breastkit.errors import BreastkitError
from breastkit.records import read_record

FOLDER = "candidates"
# Of one image; whoever sends more than this is no reader.
_MOST = 200


class Verdict(StrEnum):
    """What a reader said of a candidate."""

    KEEP = "keep"
    REJECT = "reject"


class Candidate(BaseModel):
    """A candidate and what a reader said of it.

    Attributes:
        model: which listed it.
        center: LPS millimetres, as models answer.
        size: along the axes of the image, in millimetres.
        score: of the model.
        verdict: the reader's.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    score: float = Field(ge=0, le=1)
    verdict: Verdict

    def is_at(self, other: Candidate) -> bool:
        """Tells whether it is another one's place: of the same model, each centre within half the smaller size."""
        reach = min(*self.size, *other.size) / 2
        return self.model == other.model and math.dist(self.center, other.center) <= max(reach, 1.0)


class CandidateVerdicts:
    """Keeps what readers said, in a folder.

    Args:
        folder: made when something is said.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._saving = threading.Lock()

    def of(self, image: str) -> list[dict[str, Any]]:
        """Returns the candidates of an image on which something was said, with who said it and when."""
        return read_record(self._path(image), lambda said: list(said["candidates"])) or []

    def say(self, image: str, candidate: Candidate, *, user: str = "") -> list[dict[str, Any]]:
        """Takes a verdict in place of an earlier one on the same place, and returns all of the image.

        Raises:
            BreastkitError: if there are too many, or the folder cannot be written.
        """
        with self._saving:
            others = [one for one in self.of(image) if not candidate.is_at(_parsed(one))]
            if len(others) >= _MOST:
                raise BreastkitError(
                    f"On {_MOST} candidates of '{image}' something is said already; draw what is left."
                )
            said = {"user": user, "said": datetime.now(UTC).isoformat(timespec="seconds")}
            found = [*others, {**candidate.model_dump(mode="json"), **said}]
            write_json(self._path(image), {"image": image, "candidates": found})
        return found

    def counts(self) -> dict[str, dict[str, int]]:
        """Returns how many candidates of each model were kept and rejected, over all images."""
        found: dict[str, dict[str, int]] = {}
        for path in sorted(self._folder.glob("*.json")):
            for one in read_record(path, lambda said: list(said["candidates"])) or []:
                counts = found.setdefault(one["model"], {verdict.value: 0 for verdict in Verdict})
                counts[one["verdict"]] += 1
        return found

    def _path(self, image: str) -> Path:
        return self._folder / f"{hashlib.sha256(image.encode()).hexdigest()[:32]}.json"


def _parsed(said: dict[str, Any]) -> Candidate:
    return Candidate(**{name: said[name] for name in Candidate.model_fields})


def told(image: str, verdicts: CandidateVerdicts, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns what viewers are told of an image's candidates."""
    return {"image": image, "candidates": list(found), "by_model": verdicts.counts()}
