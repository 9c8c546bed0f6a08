import os
import pickle
import shutil
import time

import numpy as np
import pytest
import torch
from monai.data import DataLoader, get_track_meta
from monai.transforms import Compose, RandAffined, RandBiasFieldd, RandFlipd, RandScaleIntensityd

from breastkit.datasets.slices import SlicesOfVolumes
from breastkit.errors import BreastkitError
from breastkit.images import write_nifti
from breastkit.transforms import LetterboxSlicesd, LoadVolumed

SIZE = 20
KEYS = ("image", "label")


def load(size=SIZE):
    return Compose([LoadVolumed(KEYS, allow_missing_keys=True), LetterboxSlicesd(KEYS, size, allow_missing_keys=True)])


def augmentation():
    return Compose(
        [
            RandAffined(KEYS, prob=1.0, rotate_range=0.3, mode=("bilinear", "nearest"), padding_mode="border"),
            RandFlipd(KEYS, prob=0.5, spatial_axis=1),
            RandScaleIntensityd("image", factors=0.3, prob=1.0),
            RandBiasFieldd("image", coeff_range=(-0.3, 0.3), prob=1.0),
        ]
    )


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    random = np.random.default_rng(3)
    items = []
    for number, slices in enumerate((4, 7, 3)):
        image = random.gamma(2, 60, (26, 22, slices)).astype(np.int16)
        paths = {key: str(folder / f"{key}{number}.nii.gz") for key in KEYS}
        write_nifti(paths["image"], image, np.eye(4))
        write_nifti(paths["label"], image > 120, np.eye(4))
        items.append({**paths, "case": str(number)})
    return items


@pytest.mark.parametrize("cached", [False, True])
def test_items_are_the_slices_of_the_transformed_volumes(scans, tmp_path, cached):
    data = SlicesOfVolumes(scans, load(), cache_dir=tmp_path / "cache" if cached else None)
    assert len(data) == 14
    expected = [load()(item) for item in scans]
    for index, item in enumerate(data):
        volumes = expected[item["case"]]
        assert data.locate(index) == (item["case"], item["slice"])
        for key in KEYS:
            assert item[key].shape == (1, SIZE, SIZE)
            assert type(item[key]) is torch.Tensor
            assert item[key].dtype == torch.float32
        torch.testing.assert_close(
            item["image"], volumes["image"].as_tensor()[..., item["slice"]], atol=2e-3, rtol=1e-3
        )
        assert torch.equal(item["label"], volumes["label"].as_tensor()[..., item["slice"]])
    assert index == 13
    assert data[-1]["slice"] == 2
    with pytest.raises(IndexError):
        data[14]


class Counting:
    def __init__(self, size):
        self.chain = load(size)
        self._calls = 0

    def __call__(self, item):
        self._calls += 1
        return self.chain(item)


def test_the_cache_is_used_until_scan_or_transform_change(scans, tmp_path):
    def calls(size=SIZE, items=scans):
        transform = Counting(size)
        SlicesOfVolumes(items, transform, cache_dir=tmp_path / "cache")
        return transform._calls

    assert calls() == 3
    assert calls() == 0
    assert calls(size=16) == 3
    moved = dict(scans[0], image=str(tmp_path / "moved.nii.gz"))
    shutil.copy(scans[0]["image"], moved["image"])
    assert calls(items=[moved]) == 0
    write_nifti(moved["image"], np.arange(26 * 22 * 4, dtype=np.int16).reshape(26, 22, 4), np.eye(4))
    assert calls(items=[moved]) == 1
    assert not list((tmp_path / "cache").glob(".writing*"))


def test_what_a_killed_run_left_in_the_cache_goes(scans, tmp_path):
    for name, age in ((".writing-killed.npy", 7200), (".writing-another-run.npy", 0)):
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    SlicesOfVolumes(scans[:1], load(), cache_dir=tmp_path)
    assert [path.name for path in tmp_path.glob(".writing*")] == [".writing-another-run.npy"]


def test_workers_fill_the_cache_too(scans, tmp_path):
    here = SlicesOfVolumes(scans, load())
    there = SlicesOfVolumes(scans, load(), cache_dir=tmp_path, workers=2)
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one["image"], other["image"])


def test_random_transforms_depend_on_seed_epoch_and_slice_alone(scans, tmp_path):
    def epoch(number, *, workers=0, seed=1, cached=False):
        data = SlicesOfVolumes(scans, load(), augmentation(), seed=seed, cache_dir=tmp_path if cached else None)
        data.set_epoch(number)
        loader = DataLoader(data, batch_size=4, num_workers=workers)
        return torch.cat([batch["image"] for batch in loader])

    first = epoch(1)
    assert torch.equal(first, epoch(1, workers=2, cached=True))
    assert not torch.allclose(first, epoch(2))
    assert not torch.allclose(first, epoch(1, seed=2))


def test_workers_that_stay_see_the_next_epoch(scans):
    data = SlicesOfVolumes(scans, load(), augmentation())
    loader = DataLoader(data, batch_size=14, num_workers=1, persistent_workers=True)
    drawn = []
    for number in (0, 1, 0):
        data.set_epoch(number)
        drawn.append(next(iter(loader))["image"])
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize("workers", [0, 2])
def test_without_an_epoch_torchs_seed_decides_and_epochs_differ(scans, workers):
    data = SlicesOfVolumes(scans, load(), augmentation())
    loader = DataLoader(data, batch_size=7, num_workers=workers)
    runs = []
    for _ in range(2):
        torch.manual_seed(5)
        runs.append([torch.cat([batch["image"] for batch in loader]) for _ in range(2)])
    assert torch.equal(runs[0][0], runs[1][0])
    assert not torch.equal(runs[0][0], runs[0][1])


def test_image_and_mask_move_together(scans):
    transform = RandAffined(KEYS, prob=1.0, rotate_range=((0.3, 0.6),), mode="nearest", padding_mode="zeros")
    data = SlicesOfVolumes(scans[:1], load(), transform)
    data.set_epoch(0)
    plain = SlicesOfVolumes(scans[:1], load())
    for moved, still in zip(data, plain, strict=True):
        inside = moved["label"] > 0
        assert not torch.equal(moved["label"], still["label"])
        assert moved["image"][inside].min() >= still["image"][still["label"] > 0].min()


def test_metadata_tracking_is_left_as_it_was(scans):
    data = SlicesOfVolumes(scans[:1], load(), augmentation())
    data[0]
    assert get_track_meta()


def test_can_be_sent_to_another_process(scans, tmp_path):
    data = SlicesOfVolumes(scans, load(), cache_dir=tmp_path)
    data[0]
    sent = pickle.dumps(data)
    assert len(sent) < 20_000
    assert torch.equal(pickle.loads(sent)[5]["image"], data[5]["image"])


def test_what_cannot_be_learned_from_is_named(scans, tmp_path):
    with pytest.raises(BreastkitError, match="list of scans is empty"):
        SlicesOfVolumes([], load())
    with pytest.raises(BreastkitError, match=r"image0\.nii\.gz has no mask"):
        SlicesOfVolumes([{"image": scans[0]["image"]}], load(), cache_dir=tmp_path)
    with pytest.raises(BreastkitError, match=r"label1\.nii\.gz has another shape than"):
        SlicesOfVolumes([{"image": scans[0]["image"], "label": scans[1]["label"]}], load())
