"""What the start page shows of several people's work: what waits for who looks at it, and for a reviewer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from breastkit.server.labels.reading_endpoints import work_of
from breastkit.server.security.users import Role, User
from breastkit.server.services import Services
from breastkit.server.studies.study_images import StudyImage

_SHOWN = 50


def readings_shown(services: Services, who: User, *, viewer: bool) -> dict[str, Any] | None:
    """Returns what is shown to somebody; None where nobody logs in, or to who only looks.

    Args:
        services: with the readings.
        who: looks at the page.
        viewer: whether images open in the viewer.
    """
    if not who.name or who.role < Role.ANNOTATOR:
        return None
    work, images = work_of(services.readings, who), services.store.images.all()

    def shown(one: dict[str, Any]) -> dict[str, Any]:
        image = images[one["image"]]
        return {**one, "name": name_of_image(image), "link": _link(image) if viewer else ""}

    there = {kind: [shown(one) for one in ones if one["image"] in images] for kind, ones in work.items()}
    for one in there["assigned"]:
        one["until"] = f"{datetime.fromisoformat(one['until']):%Y-%m-%d %H:%M} UTC"
    waiting = there["to_review"][:_SHOWN]
    for one in waiting:
        readings = services.readings.state_of(one["image"]).readings
        one["readings"] = [
            {
                "reader": reader,
                "version": saved.version,
                "class": saved.info["class"],
                "saved": saved.info["saved"][:10],
            }
            for reader, saved in readings.items()
        ]
    return {
        **there,
        "to_review": waiting,
        "more": max(0, len(there["to_review"]) - _SHOWN),
        "reviews": who.role >= Role.REVIEWER,
    }


def name_of_image(image: StudyImage) -> str:
    """Returns what the pages call an image."""
    parts = [str(image.info.get(key) or "") for key in ("PatientID", "SeriesDescription")]
    return " ".join(part for part in parts if part) or image.id


def _link(image: StudyImage) -> str:
    study = image.info.get("StudyInstanceUID")
    return f"/ohif/annotate?StudyInstanceUIDs={study}&initialSeriesInstanceUID={image.id}" if study else ""
