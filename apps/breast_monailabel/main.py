"""The MONAI Label app: every bundle with weights as a model, over our own store."""

from __future__ import annotations

from typing import Any

from lib.infers import BundleInfer
from lib.strategies import STRATEGIES
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp

from breastkit.server.served_models import find_models
from breastkit.server.study_store import StudyStore, open_store


class BreastMonaiLabel(MONAILabelApp):
    """Serves breast MRI and ultrasound.

    Args:
        app_dir: the folder of this file.
        studies: a folder of NIfTI, pictures or DICOM, or a DICOMweb address.
        conf: ``labels`` (where labels are kept); ``users`` and ``origins`` are read by the server.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.models = find_models()
        self.strategies = dict(STRATEGIES)
        # Sessions are the server's own, and nothing is scored unasked.
        settings.MONAI_LABEL_SESSIONS = False
        settings.MONAI_LABEL_AUTO_UPDATE_SCORING = False
        super().__init__(
            app_dir,
            studies,
            conf,
            name="breast_monailabel",
            description="Breast MRI and ultrasound. For research, not for diagnosis.",
            version="0.1.0",
        )

    def init_datastore(self) -> StudyStore:
        """Opens the studies."""
        kinds = {label: kind for model in self.models.values() for label, kind in model.kinds.items()}
        return open_store(self.studies, labels=self.conf.get("labels"), kinds=kinds)

    def init_infers(self) -> dict[str, Any]:
        """Returns the bundles as tasks."""
        return {name: BundleInfer(model) for name, model in self.models.items()}

    def init_strategies(self) -> dict[str, Any]:
        """Returns the ways to choose the next image."""
        return self.strategies

    def init_batch_infer(self) -> dict[str, Any]:
        """Offers no batches: 'breastkit run' and the bundles' own inference do that."""
        return {}

    def close(self) -> None:
        """Ends what the app started."""
