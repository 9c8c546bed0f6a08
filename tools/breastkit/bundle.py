"""A bundle's folder as an object: what it is for, which weights it has and which of them are in use.

What the package knows of a bundle stands in its ``configs/metadata.json``, so that a further bundle is a folder and no
code::

    "supported_apps": {
        "breastkit": {
            "role": "segmentation",
            "reads": "picture",
            "answers": "mask",
            "organ": "breast",
            "labels": {
                "lesion": {
                    "number": 1,
                    "category": ["49755003", "SCT", "Morphologically Abnormal Structure"],
                    "type": ["52988006", "SCT", "Lesion"],
                    "region": ["76752008", "SCT", "Breast"],
                    "colour": [214, 39, 40]
                }
            },
            "data_sets": ["busi", "bus-bra"],
            "uses": {}
        }
    }

``role`` says how the bundle is run: see `Role`, which also says what goes with each. ``reads`` is a ``picture``, a
``volume`` or the phases of a dynamic ``study``; ``answers`` is a ``mask``, ``boxes`` or a ``class``. ``labels`` are
what the answer shows: their numbers in label maps and, where DICOM segmentations are to say it, the codes of what it is
(value, scheme, meaning) and the colour viewers give it; a mask that is one label needs no more than that one.
``data_sets`` are beginnings of the names of prepared sets that it trains on. ``uses`` names bundles it stands on.

Bundles lie in ``bundles/`` of the checkout or inside the installed package and, for your own, in the folder that
``BREASTKIT_BUNDLES`` names. Weights that were promoted lie in the folder that ``BREASTKIT_MODELS`` names, or else in
``work/models``.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from breastkit.errors import BreastkitError, sentence_of
from breastkit.logs import get_logger
from breastkit.places import bundle_folders
from breastkit.records import read_record
from breastkit.weights import FILE_NAME, fold_weights_beside, read_model_json, weights_file

if TYPE_CHECKING:
    from breastkit.opened_bundle import OpenedBundle

_log = get_logger(__name__)
# Value, scheme and meaning.
Code = tuple[str, str, str]
CURRENT, PROMOTION = "current.json", "promotion.json"
_METADATA = Path("configs", "metadata.json")


class Role(StrEnum):
    """How a bundle is run, and so what is made of its answers and of annotators' labels."""

    # Outlines something in a picture or a volume, on its own.
    SEGMENTATION = "segmentation"
    # Finds lesions in the phases of a dynamic study, as boxes with scores.
    DETECTION = "detection"
    # Outlines lesions of a dynamic study inside the boxes that the bundle it uses as `detector` finds.
    REGION_SEGMENTATION = "region_segmentation"
    # Tells the class of what the bundle it uses as `segmenter` outlines in a picture.
    CLASSIFICATION = "classification"


class Reads(StrEnum):
    """What a bundle reads."""

    PICTURE = "picture"
    VOLUME = "volume"
    STUDY = "study"


class Answers(StrEnum):
    """What a bundle answers with."""

    MASK = "mask"
    BOXES = "boxes"
    CLASS = "class"


# What may be read and what is answered in a role, and what it stands on.
_GOES_WITH: dict[Role, tuple[set[Reads], Answers, set[str]]] = {
    Role.SEGMENTATION: ({Reads.PICTURE, Reads.VOLUME}, Answers.MASK, set()),
    Role.DETECTION: ({Reads.STUDY}, Answers.BOXES, set()),
    Role.REGION_SEGMENTATION: ({Reads.STUDY}, Answers.MASK, {"detector"}),
    Role.CLASSIFICATION: ({Reads.PICTURE}, Answers.CLASS, {"segmenter"}),
}


@dataclass(frozen=True)
class Label:
    """One thing a bundle's answer shows.

    Attributes:
        number: in label maps.
        category: its segmented property category, where it is coded.
        type: its segmented property type.
        region: where it lies, unless the type says it.
        colour: red, green and blue, 0 to 255.
    """

    number: int
    category: Code | None = None
    type: Code | None = None
    region: Code | None = None
    colour: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Purpose:
    """What a bundle declares itself to be for; the module says what each field means."""

    role: Role
    reads: Reads
    answers: Answers
    organ: str
    labels: dict[str, Label]
    data_sets: tuple[str, ...] = ()
    uses: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, declared: Mapping[str, Any]) -> Purpose:
        """Reads a declaration.

        Raises:
            KeyError, TypeError, ValueError: if it is none.
        """
        labels: dict[str, Label] = {}
        for name, label in declared["labels"].items():
            fields: dict[str, Any] = {
                key: tuple(each) if isinstance(each, list) else each for key, each in label.items()
            }
            labels[name] = Label(**fields)
        typed = {
            "role": Role(declared["role"]),
            "reads": Reads(declared["reads"]),
            "answers": Answers(declared["answers"]),
            "labels": labels,
            "data_sets": tuple(declared.get("data_sets", ())),
        }
        purpose = cls(**{**declared, **typed})
        reads, answers, uses = _GOES_WITH[purpose.role]
        if purpose.reads not in reads or purpose.answers is not answers or set(purpose.uses) != uses or not labels:
            raise ValueError(
                f"{purpose.role} reads {' or '.join(sorted(reads))}, answers {answers}, uses {sorted(uses)} and has "
                "labels"
            )
        return purpose


class Bundle:
    """A bundle.

    Args:
        place: its name or its folder.
        models: where promoted versions of all bundles are kept; see `promoted_folder`.
    """

    def __init__(self, place: str | Path, *, models: str | Path | None = None) -> None:
        self.folder = Path(place) if Path(place).is_dir() else Path(bundle_folder(str(place)))
        self.models = Path(models) if models is not None else promoted_folder()
        self.name = self.folder.absolute().name

    def __repr__(self) -> str:
        return f"Bundle({str(self.folder)!r})"

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """What ``configs/metadata.json`` says.

        Raises:
            BreastkitError: if there is none.
        """
        path = self.folder / _METADATA
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise BreastkitError(f"{path} does not exist; name a bundle or its folder.") from error
        except json.JSONDecodeError as error:
            raise BreastkitError(f"{path} is no JSON ({error}); put it right or restore it.") from error
        return content

    @cached_property
    def purpose(self) -> Purpose:
        """What it is for.

        Raises:
            BreastkitError: if it does not say so.
        """
        try:
            return Purpose.of(self.metadata["supported_apps"]["breastkit"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BreastkitError(
                f"{self.folder / _METADATA} does not declare what the bundle is for ({error!r}); give it the entry "
                "supported_apps.breastkit that breastkit.bundle describes."
            ) from error

    @property
    def modality(self) -> str:
        """Of the images it reads, as DICOM calls it."""
        return str(self.metadata["network_data_format"]["inputs"]["image"]["modality"])

    def used(self, part: str) -> Bundle:
        """Returns a bundle that this one stands on: the one beside it, where it was copied elsewhere together with it.

        Args:
            part: what it uses it as, for example ``detector``.
        """
        name = self.purpose.uses[part]
        beside = self.folder.absolute().parent / name
        return Bundle(beside if (beside / _METADATA).is_file() else name, models=self.models)

    @cached_property
    def architectures(self) -> tuple[str, ...]:
        """Names of the networks that its ``configs/networks.json`` offers."""
        from breastkit.networks import names_in

        return tuple(names_in(self.folder / "configs" / "networks.json"))

    @property
    def shipped_weights(self) -> Path:
        """The weights it ships as its default, whether there are any or not."""
        return self.folder / "models" / FILE_NAME

    @property
    def default_architecture(self) -> str | None:
        """The architecture of the weights it ships; None where it ships none."""
        return str(read_model_json(self.shipped_weights)["architecture"]) if self.shipped_weights.is_file() else None

    @property
    def further_weights(self) -> dict[str, Path]:
        """The weights it ships of further architectures, by name of the architecture."""
        paths = set((self.folder / "models").glob(f"*/{FILE_NAME}")) - set(self.fold_weights)
        return {path.parent.name: path for path in sorted(paths)}

    @property
    def fold_weights(self) -> list[Path]:
        """The weights of folds that it ships beside its default ones."""
        return fold_weights_beside(self.shipped_weights)

    def weights_of(self, architecture: str) -> Path:
        """Returns the weights it ships of an architecture.

        Raises:
            BreastkitError: if it ships none.
        """
        if architecture == self.default_architecture:
            return self.shipped_weights
        if architecture in self.further_weights:
            return self.further_weights[architecture]
        raise BreastkitError(
            f"{self.folder / 'models'} holds no weights of '{architecture}'; train it, or name some with --weights."
        )

    @property
    def promoted(self) -> Path:
        """The folder of its promoted versions."""
        return self.models / self.name

    @property
    def versions(self) -> list[int]:
        """Numbers of its promoted versions; 0, what it ships, is not among them."""
        found = self.promoted.glob(f"[0-9]*/{PROMOTION}")
        names = (path.parent.name for path in found if path.with_name(FILE_NAME).is_file())
        return sorted(int(name) for name in names if name.isdecimal())

    @property
    def version_in_use(self) -> int:
        """The number of the version it runs with, 0 for what it ships."""
        number = read_record(self.promoted / CURRENT, lambda content: int(content["version"]))
        return number if number in self.versions else 0

    def weights_of_version(self, number: int) -> Path:
        """Returns the weights of a version, 0 for what it ships."""
        return self.promoted / f"{number:06d}" / FILE_NAME if number else self.shipped_weights

    @property
    def weights_in_use(self) -> Path:
        """The weights that it runs with: a version that was promoted, or what it ships."""
        return self.weights_of_version(self.version_in_use)

    def chosen_weights(self, weights: str | Path | None = None) -> Path:
        """Returns the file of the weights it runs with.

        Args:
            weights: a weights file or the folder it is in; those in use by default.
        """
        return self.weights_in_use if weights is None else weights_file(weights)

    def opened(self, *, weights: str | Path | None = None, **overrides: Any) -> OpenedBundle:
        """Opens it for inference.

        Args:
            weights: a weights file or the folder it is in; those in use by default.
            overrides: ids of its ``configs/inference.json`` and their values, for example ``backend="torch"``.

        Raises:
            BreastkitError: if the weights are missing, damaged or of another network.
        """
        from breastkit.opened_bundle import OpenedBundle

        return OpenedBundle(self, weights=weights, **overrides)

    def run(self, *configs: str, **overrides: Any) -> None:
        """Runs configs as ``python -m monai.bundle run`` does, in this process: each start costs ten seconds.

        Args:
            configs: names of files in its ``configs``, each laid over those before it.
            overrides: ids of the configs and their values, for example ``dataset_dir="work/tissue"``.

        Raises:
            BreastkitError: if it does not run.
        """
        from monai.bundle import run

        # The configs are our own, and what is logged is the caller's.
        warnings.filterwarnings("ignore", message="parsing config_file")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        for module in ("scripts", "workflows"):
            logging.getLogger(f"monai.bundle.{module}").setLevel(logging.ERROR)
        # False, which MONAI's types leave out, keeps the log as it is.
        options: dict[str, Any] = {"logging_file": False, **overrides}
        try:
            paths = [str(self.folder / "configs" / name) for name in configs]
            run(config_file=paths, bundle_root=str(self.folder), **options)
        except Exception as error:  # MONAI wraps whatever a config raises
            raise BreastkitError(f"{self.name} did not run: {sentence_of(error) or error}") from error


def bundle_folder(name: str) -> str:
    """Returns the folder of a bundle: the working folder where that is it, else one among those of `find_bundles`.

    It is the default of every config's ``bundle_root``, because ``monai.bundle.load`` and ``verify_net_in_out`` do not
    set that; ``--bundle_root`` names a bundle that was copied elsewhere.

    Args:
        name: the bundle, for example ``breast_mri_tissue_segmentation``.
    """
    here = Path.cwd()
    if here.name == name and (here / _METADATA).is_file():
        return str(here)
    places = bundle_folders()
    return str(next((place for place in places if (place / name / _METADATA).is_file()), places[-1]) / name)


def find_bundles(place: str | Path | None = None, *, models: str | Path | None = None) -> list[Bundle]:
    """Returns all bundles by name: those of a folder, or one's own and those that come with the package.

    One that does not say what it is for is named in the log and left out: it stops no other.

    Args:
        place: a folder with bundles directly in it.
        models: where promoted versions are kept.
    """
    places = [Path(place)] if place is not None else bundle_folders()
    found = {path.parents[1].name: path.parents[1] for each in reversed(places) for path in each.glob(f"*/{_METADATA}")}
    bundles = [Bundle(found[name], models=models) for name in sorted(found)]
    return [bundle for bundle in bundles if _is_declared(bundle)]


def bundle_for(role: Role) -> Bundle:
    """Returns the bundle that has a role, where no other has it.

    Raises:
        BreastkitError: if there is none, or several to choose from.
    """
    found = [bundle for bundle in find_bundles() if bundle.purpose.role is role]
    if len(found) != 1:
        names = ", ".join(bundle.name for bundle in found) or "none"
        raise BreastkitError(f"One bundle for {role} is looked for, and there are: {names}; name one with --bundle.")
    return found[0]


def weights_in_use(bundle: str | Path) -> str:
    """Returns the weights that a bundle runs with, for the default of ``ckpt_path`` in its ``inference.json``.

    Args:
        bundle: its folder.
    """
    return str(Bundle(bundle).weights_in_use)


def promoted_folder() -> Path:
    """Returns where promoted versions are kept: the folder ``BREASTKIT_MODELS`` names, ``work/models`` without."""
    return Path(os.environ.get("BREASTKIT_MODELS") or "work/models")


def is_yes(value: bool | str) -> bool:
    """Reads a switch of a command line, where ``--resume false`` arrives as text."""
    return str(value).strip().lower() not in ("false", "no", "0", "none", "")


def _is_declared(bundle: Bundle) -> bool:
    try:
        return bool(bundle.purpose.labels)
    except BreastkitError as error:
        _log.warning("%s is left out: %s", bundle.name, error)
        return False
