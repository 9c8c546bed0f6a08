"""The MONAI Label app: what `breastkit.server` offers, behind MONAI Label's interface of an app."""

from __future__ import annotations

from typing import Any

from lib.datastore import StudyDatastore
from lib.infers import BundleInfer
from lib.scoring_methods import Measure
from lib.strategies import NextSample
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp

from breastkit.server.information import information_of
from breastkit.server.models.scoring_methods import Method
from breastkit.server.services import DESCRIPTION, NAME, VERSION, open_services


class BreastMonaiLabel(MONAILabelApp):
    """Breast MRI and ultrasound; what is asked through the server's endpoints does not come this way.

    Training has no task here: it runs as a process of its own, which the server starts.

    Args:
        app_dir: the folder of this file.
        studies: a folder of NIfTI, pictures or DICOM, or a DICOMweb address.
        conf: see `breastkit.server.services.open_services`.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.services = open_services(studies, conf)
        # Sessions are the server's own, and nothing is scored unasked.
        settings.MONAI_LABEL_SESSIONS = False
        settings.MONAI_LABEL_AUTO_UPDATE_SCORING = False
        super().__init__(app_dir, studies, conf, name=NAME, description=DESCRIPTION, version=VERSION)

    def info(self) -> dict[str, Any]:
        """Returns what there is, as the server tells it."""
        return information_of(self.services)

    def init_datastore(self) -> StudyDatastore:
        """Returns the studies."""
        return StudyDatastore(self.services.store)

    def init_infers(self) -> dict[str, BundleInfer]:
        """Returns the bundles as tasks."""
        return {name: BundleInfer(model) for name, model in self.services.models.items()}

    def init_strategies(self) -> dict[str, NextSample]:
        """Returns the ways to choose the next image."""
        chooser = self.services.next_image
        return {name: NextSample(name, text, chooser) for name, text in chooser.strategies().items()}

    def init_scoring_methods(self) -> dict[str, Measure]:
        """Returns what can be measured of model and labels."""
        scoring = self.services.scoring
        return {method.value: Measure(method, scoring) for method in Method} if scoring is not None else {}

    def init_batch_infer(self) -> dict[str, Any]:
        """Offers no tasks: the server runs batches itself."""
        return {}
