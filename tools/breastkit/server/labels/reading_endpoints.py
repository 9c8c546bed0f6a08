"""Who reads what, what reviewers decide, and how far readers agree."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from breastkit.server.labels.agreement import Agreement, agreement_page, images_table, pairs_of, pairs_table
from breastkit.server.labels.readings import ImageState, Readings
from breastkit.server.labels.reviews import Review
from breastkit.server.security.access import asker_of
from breastkit.server.security.request_values import (
    ImageId,
    JsonBody,
    ReaderName,
    ReviewOptions,
    checked_params,
    options_of,
)
from breastkit.server.security.users import Role, User
from breastkit.server.services import Services


class Table(StrEnum):
    """What of the agreement is given."""

    PAGE = "page"
    PAIRS = "pairs"
    IMAGES = "images"


def reading_endpoints(services: Services) -> APIRouter:
    """Returns the endpoints of readers and reviewers.

    Args:
        services: with the store and the readings.
    """
    router = APIRouter()
    store, readings = services.store, services.readings
    agreement = Agreement(readings)

    @router.get("/readings/")
    def mine(request: Request) -> dict[str, Any]:
        """Tells what who asks was handed, what was sent back to them, and what waits for their review."""
        return work_of(readings, asker_of(request))

    @router.get("/readings/image")
    def image(image: ImageId) -> dict[str, Any]:
        """Tells who has read an image, and what reviewers decided on it."""
        state = readings.state_of(store.image(image).id)
        return {**told_of(state), "decisions": [_told(one) for one in readings.reviews.of(image)]}

    @router.post("/readings/review")
    def review(request: Request, image: ImageId, params: JsonBody = None) -> dict[str, Any]:
        """Keeps what a reviewer decides: to approve, to send back with a remark, or to choose a reader's label."""
        options = options_of(ReviewOptions, checked_params(params))
        return decided(readings, asker_of(request), store.image(image).id, options)

    @router.put("/readings/assignment")
    def assign(image: ImageId, reader: ReaderName) -> dict[str, Any]:
        """Hands an image to an annotator."""
        until = readings.give(store.image(image).id, reader)
        return {"image": image, "reader": reader, "until": until.isoformat(timespec="seconds")}

    @router.get("/agreement/", response_class=HTMLResponse)
    def agree(output: Table = Table.PAGE) -> Response:
        """Shows how far readers agree, as a page or as CSV."""
        images = agreement.images()
        if output is Table.PAGE:
            tables = {"pairs": "?output=pairs", "images": "?output=images"}
            return HTMLResponse(agreement_page(images, tables=tables))
        text = pairs_table(pairs_of(images)) if output is Table.PAIRS else images_table(images)
        name = {"Content-Disposition": f'attachment; filename="{output.value}.csv"'}
        return PlainTextResponse(text, media_type="text/csv", headers=name)

    return router


def decided(readings: Readings, who: User, image: str, options: ReviewOptions) -> dict[str, Any]:
    """Keeps what a reviewer decides, and returns what clients are told of it."""
    kept, says = readings.review(
        who, image, options.review, readers=options.reader.split(",") if options.reader else (), remark=options.remark
    )
    return {**_told(kept), "label": image, "says": says, "round": readings.state_of(image).round}


def work_of(readings: Readings, who: User) -> dict[str, Any]:
    """Returns what somebody was handed and what was sent back to them, and to reviewers what waits for one."""
    sent_back = readings.sent_back_to(who.name) if who.name else {}
    assigned = readings.assigned_to(who.name) if who.name else {}
    to_review = readings.to_review() if who.role >= Role.REVIEWER else {}
    return {
        "assigned": [{"image": one, "until": until.isoformat(timespec="seconds")} for one, until in assigned.items()],
        "sent_back": [_told(review) for review in sent_back.values()],
        "to_review": [{"image": one, "why": why} for one, why in to_review.items()],
    }


def told_of(state: ImageState) -> dict[str, Any]:
    """Returns what clients are told of where an image stands."""
    return {
        "image": state.image,
        "round": state.round,
        "readers": {reader: saved.version for reader, saved in state.readings.items()},
        "settled": _told(state.settled) if state.settled is not None else None,
        "sent_back": {reader: review.remark for reader, review in state.sent_back.items()},
    }


def _told(review: Review) -> dict[str, Any]:
    return {
        "image": review.image,
        "review": review.decision.value,
        "by": review.by,
        "readers": list(review.readers),
        "remark": review.remark,
        "when": review.when,
    }
