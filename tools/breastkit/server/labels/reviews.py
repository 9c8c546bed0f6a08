"""What reviewers decided on labels: one record for each decision, none ever changed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from breastkit.atomic import remove_leftovers, write_json
from breastkit.records import read_record
from breastkit.server.labels.saved_labels import folder_name

REVIEWS_FOLDER = "reviews"
# Seconds; what is younger another process may be writing.
_LEFTOVER_AFTER = 600.0


class Decision(StrEnum):
    """What a reviewer decides."""

    APPROVE = "approve"
    SEND_BACK = "send_back"
    CHOOSE = "choose"
    # What a save of a reviewer's own is.
    EDIT = "edit"


@dataclass(frozen=True)
class Review:
    """One decision on the labels of an image.

    Attributes:
        image: which.
        decision: what.
        by: the reviewer.
        readers: to whom it is sent back, or whose label is chosen.
        remark: in the reviewer's words.
        versions: of the readers' labels when it was decided.
        when: in UTC.
    """

    image: str
    decision: Decision
    by: str
    readers: tuple[str, ...] = ()
    remark: str = ""
    versions: Mapping[str, int] = field(default_factory=dict)
    when: str = ""

    @property
    def settles(self) -> bool:
        """Whether the label stands from then on, whatever readers save, until it is sent back."""
        return self.decision is not Decision.SEND_BACK


class Reviews:
    """Keeps decisions in a folder, and knows them.

    Args:
        folder: of the labels.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / REVIEWS_FOLDER
        self._adding = threading.Lock()
        self._of_image: dict[str, list[Review]] = {}
        for place in self._folder.glob("*/"):
            remove_leftovers(place, untouched_for=_LEFTOVER_AFTER)
        for path in sorted(self._folder.glob("*/[0-9]*.json")):
            if (review := read_record(path, _review_in)) is not None:
                self._of_image.setdefault(review.image, []).append(review)

    def of(self, image: str) -> list[Review]:
        """Returns the decisions on an image, the oldest first."""
        return list(self._of_image.get(image, ()))

    def add(self, review: Review) -> Review:
        """Keeps a decision and returns it with its time.

        Raises:
            BreastkitError: if the folder cannot be written.
        """
        kept = replace(review, when=datetime.now(UTC).isoformat(timespec="seconds"))
        place = self._folder / folder_name(review.image)
        with self._adding:
            # What was set aside as damaged keeps its number.
            number = 1 + max((int(path.name[:6]) for path in place.glob("[0-9]*.json*")), default=0)
            write_json(place / f"{number:06d}.json", asdict(kept))
            self._of_image.setdefault(review.image, []).append(kept)
        return kept


def _review_in(content: Any) -> Review:
    return Review(
        str(content["image"]),
        Decision(content["decision"]),
        str(content["by"]),
        tuple(map(str, content["readers"])),
        str(content["remark"]),
        {str(reader): int(version) for reader, version in content["versions"].items()},
        str(content["when"]),
    )
