"""Every version of a label is kept, and none is ever half there."""

import json
from concurrent.futures import ThreadPoolExecutor

import nibabel
import numpy as np
import pytest

from breastkit.errors import BreastkitError
from breastkit.images import read_mask
from breastkit.server.labels.saved_labels import SavedLabels
from breastkit.server.studies.study_images import PICTURE_AFFINE, Grid

GRID = Grid((5, 4, 3), np.diag([2.0, 3.0, 4.0, 1.0]))


def mask(value):
    found = np.zeros(GRID.shape, np.uint8)
    found[1:3, 2, 1] = value
    return found


def test_the_latest_version_counts_and_those_before_are_kept(tmp_path):
    store = SavedLabels(tmp_path)
    assert store.current("a") is None
    store.save("a", mask(1), GRID, names={"lesion": 1}, user="anna")
    store.save("a", mask(2), GRID, names={"benign": 2}, of_class="benign", user="eva")
    current = SavedLabels(tmp_path).current("a")
    assert (current.version, current.info["class"], current.info["user"]) == (2, "benign", "eva")
    assert current.info["voxels"] == {"2": 2}
    found = [np.asarray(nibabel.load(one.path).dataobj).max() for one in store.versions("a")]
    assert found == [1, 2]
    assert store.labelled() == ["a"]


def test_two_at_once_are_both_kept(tmp_path):
    store = SavedLabels(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda value: store.save("a", mask(value), GRID).version, range(1, 9)))
    assert sorted(versions) == list(range(1, 9))
    assert len(store.versions("a")) == 8


def test_a_version_that_was_killed_on_its_way_is_not_there(tmp_path):
    store = SavedLabels(tmp_path)
    saved = store.save("a", mask(1), GRID)
    # The label map of the next version is written, what it is was not.
    (saved.path.parent / "000002.nii.gz").write_bytes(b"whole")
    (saved.path.parent / ".writing-x.json").write_text("{")
    assert SavedLabels(tmp_path).current("a").version == 1
    assert store.save("a", mask(2), GRID).version == 2
    assert store.labelled() == ["a"]


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../../a", "name with (1)", "ünïcödé", "a" * 200, "%2E%2E"])
def test_no_name_leaves_the_folder_or_meets_another(tmp_path, name):
    store = SavedLabels(tmp_path / "labels")
    saved = store.save(name, mask(1), GRID)
    assert saved.path.resolve().parents[1] == (tmp_path / "labels" / "final").resolve()
    assert list(tmp_path.iterdir()) == [tmp_path / "labels"]
    assert store.labelled() == [name]
    assert json.loads(saved.path.parent.joinpath("000001.json").read_text())["image"] == name


def test_a_picture_is_kept_as_png(tmp_path):
    flat = np.zeros((6, 4, 1), np.uint8)
    flat[4, 1, 0] = 1
    saved = SavedLabels(tmp_path).save("a", flat, Grid((6, 4, 1), PICTURE_AFFINE), flat=True)
    np.testing.assert_array_equal(read_mask(saved.path), flat[:, :, 0].T)


def test_a_deleted_label_counts_for_nothing_until_it_is_restored_or_saved_anew(tmp_path):
    store = SavedLabels(tmp_path)
    for value in (1, 2):
        store.save("a", mask(value), GRID)
    store.delete("a", "final", user="eva")
    # After a restart too.
    store = SavedLabels(tmp_path)
    assert (store.current("a"), store.labelled(), store.deleted()) == (None, [], {"a"})
    assert [one.version for one in store.versions("a")] == [1, 2]
    with pytest.raises(BreastkitError, match="to delete"):
        store.delete("a", "final")
    assert store.restore("a", "final").version == 2
    assert (store.labelled(), store.deleted()) == (["a"], set())
    with pytest.raises(BreastkitError, match="not deleted"):
        store.restore("a", "final")
    store.delete("a", "final")
    assert store.save("a", mask(3), GRID).version == 3
    assert (store.current("a").version, store.labelled(), store.deleted()) == (3, ["a"], set())
    with pytest.raises(BreastkitError, match="not deleted"):
        store.restore("a", "final")


def test_any_tag_has_its_own_labels_and_meets_nothing_of_ours(tmp_path):
    store = SavedLabels(tmp_path)
    for tag in ("second_reader", "images", "dicom", "tags", "Final"):
        assert store.save("a", mask(1), GRID, tag=tag).path.is_relative_to(tmp_path / "tags" / tag)
    assert store.labelled() == []
    assert store.labelled("second_reader") == ["a"]
    assert store.tags() == ["final", "original", "Final", "dicom", "images", "second_reader", "tags"]


def test_what_is_said_of_a_label_is_a_version_with_the_same_map(tmp_path):
    store = SavedLabels(tmp_path)
    saved = store.save("a", mask(1), GRID, names={"lesion": 1}, user="anna")
    store.describe("a", "final", {"class": "benign"}, user="eva")
    current = SavedLabels(tmp_path).current("a")
    assert (current.version, current.path, current.info["class"], current.info["user"]) == (
        2,
        saved.path,
        "benign",
        "eva",
    )
    assert store.versions("a")[0].info["class"] is None
    assert store.save("a", mask(2), GRID).version == 3


def test_unknown_tags_and_classes_are_refused(tmp_path):
    store = SavedLabels(tmp_path)
    with pytest.raises(BreastkitError, match="no tag"):
        store.save("a", mask(1), GRID, tag="../x")
    with pytest.raises(BreastkitError, match="no class"):
        store.save("a", mask(1), GRID, of_class="odd")
    assert store.labelled() == []
