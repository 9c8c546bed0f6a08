"""Labels of several people: each reader's own are kept, and what they come to is ``final``, from which models learn.

An annotator's label is their *reading*. `Readings` makes ``final`` of all readings of an image whenever one comes, as
long as no reviewer has settled it by approving, choosing or editing it. A reading that was sent back does not count
until its reader has corrected it, which begins the next round of the image. Where nobody logs in there is one
annotator, whose labels are ``final`` as they come.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.server.labels.assignments import Assignments
from breastkit.server.labels.consensus import Method, UndecidedError, consensus_of, reading_of
from breastkit.server.labels.folder_lock import FolderLock
from breastkit.server.labels.label_files import labels_of
from breastkit.server.labels.reviews import Decision, Review, Reviews
from breastkit.server.labels.saved_labels import FINAL, SavedLabel, SavedLabels, reader_of, reader_tag
from breastkit.server.security.users import Role, User
from breastkit.server.studies.study_images import grid_of_file

Save = Callable[[str, Mapping[str, Any]], SavedLabel]
ASSIGNED_HOURS = 24.0
_CONSENSUS = "consensus"
_log = get_logger(__name__)


@dataclass(frozen=True)
class ReadingOptions:
    """How readings are dealt out and brought together.

    Attributes:
        method: by which the consensus is made.
        double: share of the images that two annotators read, each without seeing the other's label.
        hours: for which an image that was handed to an annotator is not handed to another.
    """

    method: Method = Method.MAJORITY
    double: float = 0.0
    hours: float = ASSIGNED_HOURS

    def __post_init__(self) -> None:
        if not 0 <= self.double <= 1:
            raise BreastkitError(f"--double {self.double:g} is no share of the images; give one from 0 to 1.")
        if self.hours <= 0:
            raise BreastkitError(f"--assigned-hours {self.hours:g} is no time; give hours above 0.")


@dataclass(frozen=True)
class ImageState:
    """Where an image stands.

    Attributes:
        image: which.
        readings: of everybody, by reader.
        settled: the decision by which the label stands.
        sent_back: decisions that their reader has not answered yet, by reader.
        round: from 1, one more each time that something was sent back.
    """

    image: str
    readings: Mapping[str, SavedLabel]
    settled: Review | None
    sent_back: Mapping[str, Review]
    round: int

    @property
    def counting(self) -> dict[str, SavedLabel]:
        """The readings that a consensus is made of."""
        return {reader: saved for reader, saved in self.readings.items() if reader not in self.sent_back}

    @property
    def newer(self) -> list[str]:
        """The readers who saved after the label was settled."""
        known = self.settled.versions if self.settled is not None else {}
        return [one for one, saved in self.readings.items() if self.settled and saved.version > known.get(one, 0)]


class Readings:
    """Keeps readings, makes ``final`` of them, and knows whose turn it is.

    Args:
        labels: of all.
        options: how they are dealt out and brought together.
        knows: whether there is a user of a name.
        after_final: is told of every ``final`` that as many have read as are to.
    """

    def __init__(
        self,
        labels: SavedLabels,
        options: ReadingOptions | None = None,
        *,
        knows: Callable[[str], bool] = lambda _: True,
        after_final: Callable[[SavedLabel], None] = lambda _: None,
    ) -> None:
        self.labels, self.options = labels, options or ReadingOptions()
        self._knows, self._after_final = knows, after_final
        self.reviews = Reviews(labels.folder)
        self.assignments = Assignments(labels.folder, hours=self.options.hours, knows=knows)
        self._deciding = threading.RLock()

    # What is kept.

    def keep(self, who: User, image: str, tag: str, save: Save) -> tuple[SavedLabel, str]:
        """Saves a label where it belongs, and returns it with what came of it, as a sentence.

        Args:
            who: saves it.
            image: of which image.
            tag: that was asked for; empty for what counts.
            save: saves it under a tag, with facts.

        Raises:
            BreastkitError: if it cannot be saved there.
        """
        tag = self._tag_to_keep(who, tag)
        if reader_of(tag):
            saved = save(tag, {"round": self.state_of(image).round})
            return saved, self.settle(image)
        if tag != FINAL or not who.name:
            return save(tag, {}), ""
        with self._deciding:
            saved = save(tag, {})
            self.reviews.add(self._review(who, image, Decision.EDIT))
        return saved, "It stands as you saved it."

    def _tag_to_keep(self, who: User, tag: str) -> str:
        if tag in ("", FINAL):
            return reader_tag(who.name) if who.name and who.role < Role.REVIEWER else FINAL
        if (reader := reader_of(tag)) is not None and reader != who.name:
            raise BreastkitError(f"'{tag}' is {reader}'s own; save yours without a tag.")
        return tag

    def tag_to_show(self, who: User, image: str, tag: str) -> str:
        """Returns the tag of the label that somebody is shown: an annotator's own before what came of it.

        Args:
            who: asks.
            image: of which image.
            tag: that was asked for; empty for none.

        Raises:
            BreastkitError: if it is another's, of an image that two read on their own.
        """
        if not who.name or who.role is not Role.ANNOTATOR:
            return tag or FINAL
        own, state = reader_tag(who.name), self.state_of(image)
        others = set(state.readings) - {who.name}
        blind = bool(others) and who.name not in state.readings and not state.settled and self.needed(image) > 1
        if blind and tag != own and (tag == FINAL or reader_of(tag)):
            raise BreastkitError(f"'{image}' is read by two on their own; save your label before you look at another.")
        shows_own = blind or (who.name in state.readings and state.settled is None)
        return tag or (own if shows_own else FINAL)

    def settle(self, image: str, *, method: Method | None = None) -> str:
        """Makes ``final`` of the readings that count, and returns what came of it, as a sentence.

        Args:
            image: of which image.
            method: another than the one of the options.

        Raises:
            BreastkitError: if it cannot be made or saved.
        """
        with self._deciding:
            state = self.state_of(image)
            if state.settled is not None:
                by = state.settled.by
                return f"It is kept; what counts is what {by} has settled, until a reviewer chooses or sends back."
            counting = state.counting
            if not counting:
                self._withdraw(image)
                return "The label counts for nothing until it is corrected."
            try:
                final = self._made_of(image, counting, method or self.options.method)
            except UndecidedError as error:
                self._withdraw(image)
                return str(error)
        if len(counting) >= self.needed(image):
            self._after_final(final)
        return "" if len(counting) == 1 else f"Consensus of {', '.join(counting)}."

    def _made_of(self, image: str, counting: Mapping[str, SavedLabel], method: Method) -> SavedLabel:
        versions = {reader: saved.version for reader, saved in counting.items()}
        (reader, saved), *others = counting.items()
        if not others:
            return self._stands_alone(saved, reader, {"of": versions, "method": "one reader"})
        found = consensus_of([reading_of(name, one) for name, one in counting.items()], method)
        return self._save_final(
            saved,
            found.labels,
            names=found.names,
            of_class=found.of_class,
            user=", ".join(counting),
            facts={_CONSENSUS: {"of": versions, "method": method}},
        )

    def _stands_alone(self, saved: SavedLabel, reader: str, facts: Mapping[str, Any]) -> SavedLabel:
        """Saves a reading as it is as what counts."""
        return self._save_final(
            saved,
            labels_of(saved.path),
            names=saved.info["labels"],
            of_class=saved.info["class"],
            user=reader,
            facts={_CONSENSUS: facts},
        )

    def _save_final(self, reading: SavedLabel, labels: NDArray[Any], **said: Any) -> SavedLabel:
        grid, flat = grid_of_file(reading.path), reading.path.suffix == ".png"
        return self.labels.save(reading.image, labels, grid, flat=flat, **said)

    def _withdraw(self, image: str) -> None:
        if self.labels.current(image) is not None:
            self.labels.delete(image, FINAL, user=_CONSENSUS)

    def catch_up(self, *, method: Method | None = None) -> dict[str, str]:
        """Makes ``final`` of readings that came without it, as when a server was killed between the two.

        Args:
            method: by which it is made anew too where it was made by another.

        Returns:
            What came of it, by image.
        """
        found = {}
        for image, state in self.states().items():
            made = next(reversed(self.labels.versions(image)), None)
            facts = made.info.get(_CONSENSUS, {}) if made is not None else {}
            counting = {reader: saved.version for reader, saved in state.counting.items()}
            is_current = facts.get("of") == counting and (
                method is None or len(counting) < 2 or facts.get("method") == method
            )
            if state.settled is None and not is_current:
                try:
                    found[image] = self.settle(image, method=method)
                except BreastkitError as error:
                    _log.warning("The readings of %s come to nothing: %s", image, error)
                    found[image] = str(error)
        return found

    # What reviewers decide.

    def review(
        self, who: User, image: str, decision: Decision, *, readers: Iterable[str] = (), remark: str = ""
    ) -> tuple[Review, str]:
        """Keeps what a reviewer decides on the label of an image, and returns it with what came of it.

        Args:
            who: the reviewer.
            image: which.
            decision: to approve, to send back or to choose.
            readers: to whom it is sent back, by default everybody who read it; whose label is chosen.
            remark: what is to be corrected.

        Raises:
            BreastkitError: if there is nothing to decide on, or what is needed is missing.
        """
        with self._deciding:
            state = self.state_of(image)
            named = tuple(readers) or (tuple(state.readings) if decision is Decision.SEND_BACK else ())
            missing = next((one for one in named if one not in state.readings), None)
            if missing is not None:
                raise BreastkitError(f"{missing} has no label of '{image}'; it was read by {_names(state.readings)}.")
            if decision is Decision.SEND_BACK:
                self._refuse_to_send_back(state, named, remark)
            elif decision is Decision.CHOOSE and len(named) != 1:
                raise BreastkitError(f"Say whose label of '{image}' is chosen: {_names(state.readings)}.")
            elif decision is Decision.APPROVE and self.labels.current(image) is None:
                raise BreastkitError(f"There is no label of '{image}' to approve; choose one, or save your own.")
            if decision is Decision.CHOOSE:
                chosen = state.readings[named[0]]
                facts = {"of": {named[0]: chosen.version}, "method": f"chosen by {who.name}"}
                self._after_final(self._stands_alone(chosen, named[0], facts))
            kept = self.reviews.add(self._review(who, image, decision, named, remark))
            return kept, "" if kept.settles else self.settle(image)

    def _refuse_to_send_back(self, state: ImageState, readers: tuple[str, ...], remark: str) -> None:
        if not remark.strip():
            raise BreastkitError("Say in a remark what is to be corrected.")
        if not readers:
            raise BreastkitError(f"Nobody's own label of '{state.image}' is kept; correct it and save it yourself.")
        for reader in readers:
            self._refuse_unknown(reader, state.image)

    def _refuse_unknown(self, reader: str, image: str) -> None:
        if not self._knows(reader):
            raise BreastkitError(
                f"{reader} is no user of this server any more; give '{image}' to somebody else, or outline it yourself."
            )

    def _review(
        self, who: User, image: str, decision: Decision, readers: tuple[str, ...] = (), remark: str = ""
    ) -> Review:
        versions = {reader: saved.version for reader, saved in self.state_of(image).readings.items()}
        return Review(image, decision, who.name, readers, remark.strip(), versions)

    # Whose turn it is.

    def needed(self, image: str) -> int:
        """Returns how many are to read an image: two of a share that is chosen by its name alone."""
        place = int(hashlib.sha256(image.encode("utf-8", "surrogateescape")).hexdigest()[:8], 16) / 2**32
        return 2 if place < self.options.double else 1

    def state_of(self, image: str) -> ImageState:
        """Returns where an image stands."""
        found = {reader: self.labels.current(image, reader_tag(reader)) for reader in self.labels.readers()}
        return self._state(image, {reader: saved for reader, saved in found.items() if saved is not None})

    def states(self) -> dict[str, ImageState]:
        """Returns where every image stands that somebody has read."""
        found: dict[str, dict[str, SavedLabel]] = {}
        for reader in self.labels.readers():
            for saved in self.labels.all_current(reader_tag(reader)):
                found.setdefault(saved.image, {})[reader] = saved
        return {image: self._state(image, readings) for image, readings in found.items()}

    def _state(self, image: str, readings: Mapping[str, SavedLabel]) -> ImageState:
        decisions = self.reviews.of(image)
        settled = decisions[-1] if decisions and decisions[-1].settles else None
        sent_back: dict[str, Review] = {}
        for review in decisions:
            if review.settles:
                sent_back.clear()
            else:
                sent_back |= dict.fromkeys(review.readers, review)
        waiting = {
            reader: review
            for reader, review in sent_back.items()
            if reader in readings and readings[reader].version <= review.versions.get(reader, 0)
        }
        return ImageState(image, readings, settled, waiting, 1 + sum(not review.settles for review in decisions))

    def waiting_for(self, reader: str, images: Iterable[str], labelled: set[str]) -> list[str]:
        """Returns the images that may be handed to a reader: what was sent back first, else what too few have read.

        Args:
            reader: who asks.
            images: all of the store.
            labelled: those that have a label that counts.
        """
        images, states = list(images), self.states()
        sent_back = [image for image in images if image in states and reader in states[image].sent_back]
        if sent_back:
            return sent_back
        # What counts without readers was a reviewer's, or came before there were any.
        waiting = [image for image in images if image in states or image not in labelled]
        return [image for image in waiting if self._wants(reader, image, states.get(image))]

    def _wants(self, reader: str, image: str, state: ImageState | None) -> bool:
        read: set[str] = set(state.readings) if state is not None else set()
        if reader in read or (state is not None and state.settled is not None):
            return False
        return len((read | set(self.assignments.of(image))) - {reader}) < self.needed(image)

    def take(self, image: str, reader: str) -> bool:
        """Hands an image to a reader; tells whether no other one took it meanwhile."""
        state = self.state_of(image)

        def is_free(others: set[str]) -> bool:
            return reader in state.sent_back or len((others | set(state.readings)) - {reader}) < self.needed(image)

        return self.assignments.take(image, reader, is_free=is_free)

    def give(self, image: str, reader: str) -> datetime:
        """Hands an image to a reader, whoever else has it, and returns until when.

        Raises:
            BreastkitError: if there is no such user, or they have read it already.
        """
        self._refuse_unknown(reader, image)
        state = self.state_of(image)
        if reader in state.readings and reader not in state.sent_back:
            raise BreastkitError(f"{reader} has read '{image}' already; send it back with a remark instead.")
        self.assignments.take(image, reader, is_free=lambda _: True)
        return self.assignments.of(image)[reader]

    def assigned_to(self, reader: str) -> dict[str, datetime]:
        """Returns the images that a reader was handed and has not read, with until when they are theirs."""
        read = set(self.labels.labelled(reader_tag(reader)))
        return {image: until for image, until in self.assignments.given_to(reader).items() if image not in read}

    def sent_back_to(self, reader: str) -> dict[str, Review]:
        """Returns the images that a reader is to correct, with why."""
        states = self.states().values()
        return {state.image: state.sent_back[reader] for state in states if reader in state.sent_back}

    def to_review(self) -> dict[str, str]:
        """Returns the images that wait for a reviewer, with why."""
        found = {image: self._why_to_review(state) for image, state in self.states().items()}
        return {image: why for image, why in found.items() if why}

    def _why_to_review(self, state: ImageState) -> str:
        if state.settled is not None:
            return f"saved anew by {_names(state.newer)} since it was settled" if state.newer else ""
        if state.sent_back or len(state.readings) < self.needed(state.image):
            return ""
        if self.labels.current(state.image) is None:
            return f"{_names(state.readings)} do not outline the same"
        return f"read by {_names(state.readings)}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def make_consensus(labels: str, *, method: Literal["majority", "staple"] = "majority") -> dict[str, int | str]:
    """Makes the consensus of every image that several have read, where no reviewer has settled it.

    Of two readers a majority is what both outline. What is the same as before is not made again; no server may write to
    the folder meanwhile.

    Args:
        labels: the folder of labels, as 'breastkit serve' keeps them.
        method: majority or staple.

    Returns:
        How many images have one, and which wait for somebody to choose.

    Raises:
        BreastkitError: if there are no labels of readers, or a server writes to the folder.
    """
    readings = open_readings(labels)
    lock = FolderLock(readings.labels.folder)
    try:
        made = readings.catch_up(method=Method(method))
    finally:
        lock.release()
    several = [image for image, state in readings.states().items() if len(state.readings) > 1]
    waiting = [image for image in several if readings.labels.current(image) is None]
    return {
        "images read by several": len(several),
        "with a consensus": len(several) - len(waiting),
        "waiting for a reviewer": _names(waiting),
        "made now": len(made),
    }


def open_readings(labels: str) -> Readings:
    """Opens a folder of labels of several readers.

    Raises:
        BreastkitError: if it is none.
    """
    readings = Readings(SavedLabels(labels)) if Path(labels).is_dir() else None
    if readings is None or not readings.labels.readers():
        raise BreastkitError(
            f"{labels} holds labels of no reader; name the folder of labels of a server that runs with --users."
        )
    return readings
