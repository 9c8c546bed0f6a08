"""Ways to choose the next image to annotate, as MONAI Label's strategies."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from breastkit.active_learning import Choice, Pool, choose
from breastkit.server.models.scored_images import ScoredImages, pool_of

_SAID = {
    Choice.FIRST: "The first image without a label",
    Choice.RANDOM: "Any image without a label",
    Choice.UNCERTAINTY: "The image without a label of which the model is least sure",
    Choice.DIVERSITY: "The image without a label that is least like all labelled ones",
    Choice.MIX: "As diversity, but without the quarter of images of which the model is surest",
}


class NextImage(Strategy):
    """One of the ways to choose.

    Args:
        how: which.
    """

    def __init__(self, how: Choice) -> None:
        super().__init__(_SAID[how])
        self.how = how

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> str | None:
        """Returns the identifier of an image, None if all have labels.

        Args:
            request: ``seed``, with which ``random`` gives the same image again.
            datastore: images and labels.
        """
        images = datastore.get_unlabeled_images()
        nothing = np.zeros((len(images), 0))
        pool = Pool(np.zeros(len(images), dtype=bool), nothing, nothing, nothing)
        seed = request.get("seed")
        chosen = choose(pool, self.how, seed=secrets.randbits(32) if seed is None else int(seed))
        return images[chosen[0]] if chosen else None


class NextScoredImage(NextImage):
    """One of the ways that need to know what a model makes of each image.

    Pictures come before volumes, of which another model knows other things, and images that are not scored yet after
    those that are, in the order of the list.

    Args:
        how: which.
        scores: of pictures and of volumes.
    """

    def __init__(self, how: Choice, scores: Sequence[ScoredImages]) -> None:
        super().__init__(how)
        self.scores = scores

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> str | None:
        """Returns the identifier of an image, None if all have labels."""
        waiting = datastore.get_unlabeled_images()
        if not waiting:
            return None
        for scores in self.scores:
            if scores.waiting():
                scores.score_in_background()
        listed, unlabelled = datastore.list_images(), set(waiting)
        for scores in self.scores:
            known = scores.known()
            scored = [image for image in listed if image in known]
            if not unlabelled.isdisjoint(scored):
                pool = pool_of([known[image] for image in scored], [image not in unlabelled for image in scored])
                return scored[choose(pool, self.how)[0]]
        return waiting[0]


def all_strategies(scores: Sequence[ScoredImages]) -> dict[str, Strategy]:
    """Returns the strategies by name, the default first.

    Args:
        scores: of pictures and of volumes; none where no model outlines any.
    """
    found: dict[str, Strategy] = {}
    if scores:
        for how in (Choice.MIX, Choice.UNCERTAINTY, Choice.DIVERSITY):
            found[how.value] = NextScoredImage(how, scores)
    return found | {how.value: NextImage(how) for how in (Choice.RANDOM, Choice.FIRST)}
