"""Studies and labels behind MONAI Label's interface of a datastore."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore

from breastkit.errors import BreastkitError
from breastkit.server.studies.study_images import add_image
from breastkit.server.studies.study_store import DESCRIPTION, NAME, StudyStore


class StudyDatastore(Datastore):
    """A store of studies; images are never changed or removed through it, and of labels every version is kept.

    Args:
        store: images and labels.
    """

    def __init__(self, store: StudyStore) -> None:
        self.store = store

    def name(self) -> str:
        """Returns the name of the store."""
        return NAME

    def set_name(self, name: str) -> None:
        """Refuses: the store is called what it is."""
        raise BreastkitError("The store cannot be renamed.")

    def description(self) -> str:
        """Returns what the store is."""
        return DESCRIPTION

    def set_description(self, description: str) -> None:
        """Refuses, as `set_name`."""
        raise BreastkitError("The store cannot be described anew.")

    def datalist(self) -> list[dict[str, Any]]:
        """Returns image and label of every labelled image."""
        labels = {image: self.store.labels.current(image) for image in self.store.labelled()}
        return [
            {"image": self.get_image_uri(image), "label": str(saved.path)}
            for image, saved in labels.items()
            if saved is not None
        ]

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """Returns the tags under which an image has labels."""
        return {tag: image_id for tag in self.store.labels.tags() if self.store.labels.current(image_id, tag)}

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        """Returns the identifier of an image's label, empty if there is none."""
        return image_id if self.store.labels.current(image_id, tag) else ""

    def get_image(self, image_id: str, params: Any = None) -> str:
        """Returns the file of an image."""
        return self.get_image_uri(image_id)

    def get_image_uri(self, image_id: str) -> str:
        """Returns the file of an image."""
        return str(self.store.file_of(image_id))

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> str:
        """Returns the file of a label."""
        return self.get_label_uri(label_id, label_tag)

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Returns the file of a label's current version."""
        return str(self.store.label(label_id, label_tag).path)

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """Returns what is told of an image."""
        return dict(self.store.image(image_id).info)

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """Returns what is told of a label."""
        return dict(self.store.label(label_id, label_tag).info)

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Returns the images with a label, saved here or stored as a segmentation."""
        return self.store.labelled()

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Returns the images without a label."""
        return self.store.unlabelled()

    def list_images(self) -> list[str]:
        """Returns the images."""
        return list(self.store.images.all())

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """Refuses: the images lie where they are."""
        raise BreastkitError("The images are not packed into an archive; copy their folder.")

    def refresh(self) -> None:
        """Does nothing: folders are looked at when they are asked for."""

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Takes a new image."""
        return add_image(self.store.images, image_id, Path(image_filename)).id

    def remove_image(self, image_id: str) -> None:
        """Refuses: images are never removed here."""
        raise BreastkitError("Images are not removed through this server; remove the file.")

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Saves a label."""
        return self.store.save(image_id, Path(label_filename), tag=label_tag, params=label_info).image

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Has a label count for nothing; its versions are kept."""
        self.store.labels.delete(label_id, label_tag)

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Refuses: what is told of an image comes from its file."""
        raise BreastkitError("What is told of an image comes from its file.")

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Says something else of a label, as its next version."""
        self.store.describe(label_id, label_tag, info)

    def status(self) -> dict[str, Any]:
        """Returns how many images there are and how many of them have labels."""
        return self.store.status()

    def json(self) -> dict[str, Any]:
        """Returns all images with their labels."""
        return self.store.listing()
