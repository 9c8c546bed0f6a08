"""How a study is to be hung: which of its series are the phases, and the subtraction that is made of the first two.

The subtraction is a DICOM series that a viewer reads as it reads the others. It lies among the files that can be made
anew at any time, never in the folder of studies or on the other server.
"""

from __future__ import annotations

import shutil
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from breastkit.atomic import make_folder
from breastkit.dicom import Series
from breastkit.dicom.write_subtraction import DESCRIPTION, PROJECTION, SubtractionUids, write_subtraction
from breastkit.dicomweb.folder_index import FolderIndex
from breastkit.errors import BreastkitError
from breastkit.server.studies.study_images import Form, StudyImages
from breastkit.server.studies.study_phases import phases_of_study


@dataclass(frozen=True)
class StudyLayout:
    """What a viewer must know of a study to show it side by side.

    Attributes:
        phases: series of the dynamic phases, the one before contrast first; empty where there are none.
        subtraction: series of the first phase after contrast minus the one before it, empty where there is none.
        projection: series of the maximum of that through all slices, likewise.
        doubts: sentences on choices that may be wrong, or why there are no phases.
    """

    phases: tuple[str, ...] = ()
    subtraction: str = ""
    projection: str = ""
    doubts: tuple[str, ...] = ()

    def told(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return asdict(self)


class StudyLayouts:
    """Finds the layout of studies, once each, and keeps the subtractions.

    Args:
        images: of the store.
        folder: for the subtractions.

    Attributes:
        derived: the index of the subtractions.
    """

    def __init__(self, images: StudyImages, folder: str | Path) -> None:
        self._images, self._folder = images, make_folder(folder)
        self.derived = FolderIndex((self._folder,), refresh_seconds=float("inf"))
        self._known: dict[str, tuple[Any, StudyLayout]] = {}
        self._finding = threading.Lock()

    def of(self, study: str) -> StudyLayout:
        """Returns the layout of a study, for which its subtraction is made if it is not there.

        Raises:
            BreastkitError: if there is no such study.
        """
        series = [one for one in self._images.all().values() if one.info.get("StudyInstanceUID") == study]
        if not series:
            raise BreastkitError(f"There is no study '{study[:80]}' here; list the images first.")
        if not any(one.form is Form.SERIES and one.modality == "MR" for one in series):
            return StudyLayout()
        state = sorted((one.id, one.files) for one in series)
        with self._finding:
            before, layout = self._known.get(study, (None, StudyLayout()))
            if before != state:
                layout = self._found(study)
                self._known[study] = state, layout
            return layout

    def _found(self, study: str) -> StudyLayout:
        try:
            found = phases_of_study(self._images, study)
        except BreastkitError as error:
            return StudyLayout(doubts=(str(error),))
        phases = [phase for phase in found.all if isinstance(phase, Series)]
        uids = tuple(phase.uid for phase in phases)
        if len(set(uids)) < len(uids):
            return StudyLayout(doubts=("The phases are one series, which is not shown side by side.",))
        try:
            return StudyLayout(uids, *self._subtracted(study, *phases[:2]), found.doubts)
        except BreastkitError:
            said = "The first two phases do not lie on one grid, so that there is no subtraction of them."
            return StudyLayout(uids, doubts=(*found.doubts, said))

    def _subtracted(self, study: str, pre: Series, post: Series) -> tuple[str, str]:
        uids = SubtractionUids(pre, post)
        subtraction, projection = str(uids.series(DESCRIPTION)), str(uids.series(PROJECTION))
        folder = self._folder / study / subtraction
        if not folder.is_dir():
            # Of other phases than are there now.
            shutil.rmtree(folder.parent, ignore_errors=True)
            write_subtraction(folder, pre, post)
            self.derived.refresh()
        return subtraction, projection
