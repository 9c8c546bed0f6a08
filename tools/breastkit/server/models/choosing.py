"""The next image to annotate, by what a model makes of the images or by none of it."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from breastkit.active_learning import Choice, Pool, choose
from breastkit.server.studies.study_store import StudyStore

if TYPE_CHECKING:
    from breastkit.server.models.scored_images import ScoredImages

# The default first; these need to know what a model makes of each image.
_OF_SCORES = {
    Choice.MIX: "As diversity, but without the quarter of images of which the model is surest",
    Choice.UNCERTAINTY: "The image without a label of which the model is least sure",
    Choice.DIVERSITY: "The image without a label that is least like all labelled ones",
}
_OF_NOTHING = {
    Choice.RANDOM: "Any image without a label",
    Choice.FIRST: "The first image without a label",
}


class NextImage:
    """Chooses the next image to annotate.

    Args:
        store: images and labels.
        scores: of pictures and of volumes; none where no model outlines any.
    """

    def __init__(self, store: StudyStore, scores: Sequence[ScoredImages]) -> None:
        self.store, self.scores = store, scores

    def strategies(self) -> dict[str, str]:
        """Returns what each strategy chooses, by name, the default first."""
        offered = {**(_OF_SCORES if self.scores else {}), **_OF_NOTHING}
        return {how.value: description for how, description in offered.items()}

    def choose(
        self,
        how: Choice,
        *,
        seed: int | None = None,
        among: Sequence[str] | None = None,
        but: Collection[str] = (),
    ) -> str | None:
        """Returns the identifier of an image, None if all have labels.

        By a strategy of scores pictures come before volumes, of which another model knows other things, and images that
        are not scored yet after those that are, in the order of the list.

        Args:
            how: the strategy.
            seed: with which ``random`` gives the same image again.
            among: images to choose one of, in the order of the list; by default those without a label.
            but: images that are not chosen.
        """
        waiting = [image for image in (self.store.unlabelled() if among is None else among) if image not in but]
        if not waiting:
            return None
        if how in _OF_NOTHING:
            nothing = np.zeros((len(waiting), 0))
            pool = Pool(np.zeros(len(waiting), dtype=bool), nothing, nothing, nothing)
            return waiting[choose(pool, how, seed=secrets.randbits(32) if seed is None else seed)[0]]
        return self._by_scores(how, waiting)

    def _by_scores(self, how: Choice, waiting: Sequence[str]) -> str:
        from breastkit.server.models.scored_images import pool_of

        for scores in self.scores:
            if scores.waiting():
                scores.score_in_background()
        listed, unlabelled = list(self.store.images.all()), set(waiting)
        for scores in self.scores:
            known = scores.known()
            scored = [image for image in listed if image in known]
            if not unlabelled.isdisjoint(scored):
                # What is not to be chosen counts as done.
                pool = pool_of([known[image] for image in scored], [image not in unlabelled for image in scored])
                return scored[choose(pool, how)[0]]
        return waiting[0]
