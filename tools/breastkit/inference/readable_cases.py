"""Cases one after another; a bad one is reported and the others go on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import IterableDataset
from tqdm import tqdm

from breastkit.cases import CaseList, find_problems
from breastkit.errors import BreastkitError, PartlyDoneError, sentence_of
from breastkit.progress import track

_NAMED = 5


class ReadableCases(IterableDataset[Any]):
    """Dataset that gives every case through a transform and leaves out, with a sentence, those that cannot be used.

    One case is in memory at a time, so it is read in the main process (``num_workers`` 0).

    Args:
        data: the items; ``image`` is a path. Where an item has a ``label``, both files must lie on one grid.
        transform: reads and prepares an item.
        unit: what an item is, for the progress bar.
    """

    def __init__(
        self, data: Sequence[Mapping[str, Any]], transform: Callable[[Mapping[str, Any]], Any], *, unit: str = "scan"
    ) -> None:
        super().__init__()
        self.data = list(data)
        self.transform = transform
        self.unit = unit
        self.failures: list[tuple[str, str]] = []

    def __iter__(self) -> Iterator[Any]:
        """Yields the transformed items.

        Raises:
            BreastkitError: after the last item, if none could be used.
        """
        self.failures = []
        for item in track(self.data, f"{self.unit}s", unit=self.unit):
            sentence, prepared = self._prepare(item)
            if sentence is None:
                yield prepared
            else:
                self.failures.append((str(item["image"]), sentence))
                tqdm.write(f"Left out: {sentence}", file=sys.stderr)
        if len(self.failures) == len(self.data):
            self.raise_failures()

    def raise_failures(self) -> None:
        """Raises one sentence that names the cases left out, if there were any; to be called when the work is done.

        Raises:
            PartlyDoneError: if some could be used.
            BreastkitError: if none could.
        """
        if not self.failures:
            return
        if len(self.data) == 1:
            raise BreastkitError(self.failures[0][1])
        named = "; ".join(sentence.rstrip(".") for _, sentence in self.failures[:_NAMED])
        others = len(self.failures) - _NAMED
        more = f"; and {others} more, named above" if others > 0 else ""
        count, total = len(self.failures), len(self.data)
        which = f"None of {total} {self.unit}s" if count == total else f"{count} of {total} {self.unit}s"
        rest = "" if count == total else ", the others are done"
        kind = BreastkitError if count == total else PartlyDoneError
        raise kind(f"{which} could {'' if count == total else 'not '}be used{rest}: {named}{more}.")

    def _prepare(self, item: Mapping[str, Any]) -> tuple[str | None, Any]:
        if "label" in item:
            problems = find_problems(CaseList(Path(), test=[dict(item)]))
            if problems:
                return problems[0], None
        try:
            return None, self.transform(dict(item))
        except Exception as error:  # MONAI wraps whatever a transform raises
            sentence = sentence_of(error)
            if sentence is None:
                raise
            return sentence, None
