"""The MONAI Label app: every bundle with weights as a model, over our own store."""

from __future__ import annotations

from typing import Any

from lib.infers import BundleInfer
from lib.scorings import Measure
from lib.strategies import all_strategies
from lib.trainers import BundleTraining
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp

from breastkit.server.models.inference_queue import InferenceQueue
from breastkit.server.models.label_training import LabelTraining
from breastkit.server.models.model_list import find_models
from breastkit.server.models.scored_images import ScoredImages
from breastkit.server.models.scoring import Method, Scoring
from breastkit.server.models.served_models import SegmentationModel
from breastkit.server.studies.study_store import StudyStore, open_store


class BreastMonaiLabel(MONAILabelApp):
    """Serves breast MRI and ultrasound.

    Args:
        app_dir: the folder of this file.
        studies: a folder of NIfTI, pictures or DICOM, or a DICOMweb address.
        conf: ``labels`` (where labels are kept), ``models`` (where promoted weights are kept); ``users`` and
            ``origins`` are read by the server.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.models = find_models(models=conf.get("models"))
        # A chain, and an architecture beside the default one, have no weights that could be promoted.
        able = [one for one in self.models.values() if one.name == one.bundle.name]
        # What outlines pictures comes first, and of that ultrasound: pictures are that unless they say otherwise.
        self.trainers = {
            one.name: one
            for one in sorted(able, key=lambda one: (not one.flat or one.task != "segmentation", one.modality != "US"))
        }
        self.queue = InferenceQueue()
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
        self.training = LabelTraining(self.datastore())

    def init_datastore(self) -> StudyStore:
        """Opens the studies."""
        kinds = {label: kind for model in self.models.values() for label, kind in model.kinds.items()}
        return open_store(self.studies, labels=self.conf.get("labels"), kinds=kinds)

    def init_infers(self) -> dict[str, Any]:
        """Returns the bundles as tasks."""
        return {name: BundleInfer(model) for name, model in self.models.items()}

    def init_trainers(self) -> dict[str, Any]:
        """Returns the models that labels train."""
        return {name: BundleTraining(model) for name, model in self.trainers.items()}

    def init_strategies(self) -> dict[str, Any]:
        """Returns the ways to choose the next image."""
        store = self.datastore()
        outlines = [one for one in self.trainers.values() if isinstance(one, SegmentationModel)]
        self.scores = []
        for flat, name in ((True, "scores.sqlite"), (False, "volume_scores.sqlite")):
            model = next((one for one in outlines if one.flat == flat), None)
            if model is not None:
                path = store.folder / ".cache" / name
                self.scores.append(ScoredImages(store.images, model, self.queue, path))
        self.strategies = all_strategies(self.scores)
        return self.strategies

    def init_scoring_methods(self) -> dict[str, Any]:
        """Returns what can be measured of model and labels."""
        self.scoring: Scoring | None = None
        if not self.scores:
            return {}
        store = self.datastore()
        self.scoring = Scoring(store, self.scores, store.folder / ".cache" / "measured.json")
        return {method.value: Measure(method, self.scoring) for method in Method}

    def init_batch_infer(self) -> dict[str, Any]:
        """Offers no batches: 'breastkit run' and the bundles' own inference do that."""
        return {}
