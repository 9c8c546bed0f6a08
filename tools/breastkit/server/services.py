"""What the endpoints stand on, opened once and given to every router as one object."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from breastkit.bundle import find_bundles
from breastkit.errors import BreastkitError
from breastkit.server.labels.consensus import Method
from breastkit.server.labels.folder_lock import FolderLock
from breastkit.server.labels.label_kinds import kinds_of
from breastkit.server.labels.readings import ASSIGNED_HOURS, ReadingOptions, Readings
from breastkit.server.models.choosing import NextImage
from breastkit.server.models.inference_queue import InferenceQueue
from breastkit.server.recent_log import RecentLog
from breastkit.server.security.audit import AUDIT_FOLDER, AuditLog
from breastkit.server.security.download_links import DownloadLinks
from breastkit.server.security.request_limits import Limits
from breastkit.server.security.trusted_proxy import TrustedProxy, proxy_of
from breastkit.server.security.users import Users
from breastkit.server.studies.sessions import Sessions
from breastkit.server.studies.study_images import FileImages
from breastkit.server.studies.study_layout import StudyLayouts
from breastkit.server.studies.study_store import StudyStore, open_store

if TYPE_CHECKING:
    # Without models a server does not load what they need, which takes longer than all the rest.
    from breastkit.server.models.batch_inference import BatchInference
    from breastkit.server.models.label_training import LabelTraining
    from breastkit.server.models.scored_images import ScoredImages
    from breastkit.server.models.scoring import Scoring
    from breastkit.server.models.served_models import ServedModel

NAME = "breast_monailabel"
DESCRIPTION = "Breast MRI and ultrasound. For research, not for diagnosis."
VERSION = version("breastkit")


@dataclass(frozen=True)
class Services:
    """Everything that endpoints ask.

    Attributes:
        store: studies and their labels.
        readings: labels of several people, and what they come to.
        models: what runs on an image, by name.
        trainable: those of them that labels train, the one to train by default first.
        queue: where inferences take their turn.
        training: on saved labels; None of a server without models.
        scores: what a model makes of each picture, and of each volume.
        scoring: how good the models are; None where none outlines.
        batch: a model over many images; None of a server without models.
        next_image: what to annotate next.
        sessions: images that clients lent.
        audit: who asked what.
        log: what was logged last.
        lock: on the folder of labels; None of a server that only reads.
        limits: of requests.
        users: those who may log in; None to serve this machine alone.
        proxy: says who asks, beside those who log in here.
        links: open downloads to who has no token at hand.
        layouts: how studies are hung in the viewer; None where the images are no DICOM.
        origins: addresses of pages, beside our own, that may ask.
        root_path: where a reverse proxy shows the server, as ``/breast``; empty for the top.
        pages: a folder of pages to show under ``/results/``.
        companions: addresses of the servers started beside, by name: ``page`` and ``mlflow``.
    """

    store: StudyStore
    readings: Readings
    models: Mapping[str, ServedModel]
    trainable: Mapping[str, ServedModel]
    queue: InferenceQueue
    training: LabelTraining | None
    scores: Sequence[ScoredImages]
    scoring: Scoring | None
    batch: BatchInference | None
    next_image: NextImage
    sessions: Sessions
    audit: AuditLog
    log: RecentLog
    lock: FolderLock | None = None
    limits: Limits = field(default_factory=Limits)
    users: Users | None = None
    proxy: TrustedProxy | None = None
    links: DownloadLinks = field(default_factory=DownloadLinks)
    layouts: StudyLayouts | None = None
    origins: tuple[str, ...] = ()
    root_path: str = ""
    pages: Path | None = None
    companions: Mapping[str, str] = field(default_factory=dict)

    @property
    def holds_dicom(self) -> bool:
        """Whether the images are DICOM, so that there is a DICOMweb address for the viewer."""
        return not isinstance(self.store.images, FileImages)

    @property
    def only_reads(self) -> bool:
        """Whether it keeps nothing of what clients send, as another server writes to the labels."""
        return self.lock is None

    def close(self) -> None:
        """Removes what was lent, closes the log and lets others have the labels."""
        self.sessions.close()
        self.audit.close()
        self.log.detach()
        if self.lock is not None:
            self.lock.release()


def open_services(studies: str, conf: Mapping[str, str]) -> Services:
    """Opens a place with studies and connects the bundles to it.

    Args:
        studies: a folder of NIfTI, pictures or DICOM, or a DICOMweb address.
        conf: options as MONAI Label's command gives them, all of them texts: ``labels`` and ``models`` (folders for
            labels and for promoted weights), ``users`` (a file), ``origins`` (with commas between), ``user_header`` and
            ``trusted_proxy``, ``root_path``, ``pages`` (a folder), ``calibration`` (a file), ``confirm_promotions``
            (any value: an administrator confirms what training has made), ``read_only`` (any value: another server
            writes to the labels), ``no_models`` (any value: none is run or trained), ``double``, ``consensus`` and
            ``assigned_hours`` (see `breastkit.server.labels.readings.ReadingOptions`), and the addresses ``page`` and
            ``mlflow``.

    Raises:
        BreastkitError: if there are no studies, another server writes to the labels, or an option is wrong.
    """
    kinds = {label: kind for bundle in find_bundles() for label, kind in kinds_of(bundle).items()}
    store = open_store(studies, labels=conf.get("labels"), kinds=kinds)
    lock = None if "read_only" in conf else FolderLock(store.folder)
    users = Users(conf["users"]) if conf.get("users") else None
    readings = Readings(
        store.labels,
        reading_options_of(conf),
        knows=lambda name: users is None or users.named(name) is not None,
        after_final=store.store_as_segmentation,
    )
    if lock is not None:
        readings.catch_up()
    services = Services(
        store=store,
        readings=readings,
        models={},
        trainable={},
        queue=InferenceQueue(),
        training=None,
        scores=(),
        scoring=None,
        batch=None,
        next_image=NextImage(store, ()),
        sessions=Sessions(),
        audit=AuditLog(_audit_folder(store.folder, only_reads=lock is None)),
        log=RecentLog(),
        lock=lock,
        users=users,
        proxy=proxy_of(conf),
        layouts=_layouts(store),
        origins=tuple(one for one in conf.get("origins", "").split(",") if one),
        root_path=conf.get("root_path", ""),
        pages=Path(conf["pages"]) if conf.get("pages") else None,
        companions={name: conf[name] for name in ("page", "mlflow") if name in conf},
    )
    return services if "no_models" in conf else _with_models(services, conf)


def _with_models(services: Services, conf: Mapping[str, str]) -> Services:
    """Connects the bundles."""
    from breastkit.server.models.batch_inference import BatchInference
    from breastkit.server.models.label_training import LabelTraining
    from breastkit.server.models.model_list import find_models
    from breastkit.server.models.scoring import Scoring

    store, queue = services.store, services.queue
    models = find_models(models=conf.get("models"), calibration=conf.get("calibration"))
    trainable = _trainable(models)
    scores = _scores(store, trainable, queue)
    return replace(
        services,
        models=models,
        trainable=trainable,
        training=LabelTraining(store, needs_confirmation="confirm_promotions" in conf),
        scores=scores,
        scoring=Scoring(store, scores, store.folder / ".cache" / "measured.json") if scores else None,
        batch=BatchInference(store, queue),
        next_image=NextImage(store, scores),
    )


def reading_options_of(conf: Mapping[str, str]) -> ReadingOptions:
    """Returns how labels of several people are dealt with.

    Raises:
        BreastkitError: if an option is wrong.
    """
    try:
        return ReadingOptions(
            Method(conf.get("consensus", Method.MAJORITY)),
            double=float(conf.get("double", 0)),
            hours=float(conf.get("assigned_hours", ASSIGNED_HOURS)),
        )
    except ValueError as error:
        raise BreastkitError(
            "double and assigned_hours are numbers, consensus is majority or staple; correct the options."
        ) from error


def _audit_folder(labels: Path, *, only_reads: bool) -> Path:
    """Returns where requests are written down: those of a server that only reads in a folder of its own."""
    return labels / AUDIT_FOLDER / f"read_only_{os.getpid()}" if only_reads else labels / AUDIT_FOLDER


def _layouts(store: StudyStore) -> StudyLayouts | None:
    if isinstance(store.images, FileImages):
        return None
    return StudyLayouts(store.images, store.folder / ".cache" / "derived")


def _trainable(models: Mapping[str, ServedModel]) -> dict[str, ServedModel]:
    # A chain, and an architecture beside the default one, have no weights that could be promoted.
    able = [one for one in models.values() if one.name == one.bundle.name]
    # What outlines pictures comes first, and of that ultrasound: pictures are that unless they say otherwise.
    able.sort(key=lambda one: (not one.flat or one.task != "segmentation", one.modality != "US"))
    return {one.name: one for one in able}


def _scores(store: StudyStore, trainable: Mapping[str, ServedModel], queue: InferenceQueue) -> list[ScoredImages]:
    """Returns the scores of pictures and of volumes, each by the first model that outlines such."""
    from breastkit.server.models.scored_images import ScoredImages
    from breastkit.server.models.served_models import SegmentationModel

    outlines = [one for one in trainable.values() if isinstance(one, SegmentationModel)]
    found = []
    for flat, name in ((True, "scores.sqlite"), (False, "volume_scores.sqlite")):
        model = next((one for one in outlines if one.flat == flat), None)
        if model is not None:
            found.append(ScoredImages(store.images, model, queue, store.folder / ".cache" / name))
    return found
