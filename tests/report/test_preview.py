import cv2
import numpy as np
import pytest
from monai.transforms import Compose, EnsureChannelFirstd, Lambdad, RandFlipd, RandScaleIntensityd
from tests.datasets.small_sets import write_busi

from breastkit.cases import read_cases
from breastkit.datasets.busi import prepare_busi
from breastkit.errors import BreastkitError
from breastkit.images import read_gray
from breastkit.report.preview import preview, write_preview

TILE = 228


@pytest.fixture
def prepared(tmp_path):
    source = write_busi(tmp_path / "source", {"benign": 12, "malignant": 4})
    prepare_busi(source, tmp_path / "out", workers=1)
    return tmp_path / "out"


def tiles(path):
    """The tiles of a preview by row and column, titles cut off."""
    canvas = cv2.imread(str(path))[22:]
    rows, columns = canvas.shape[0] // TILE, canvas.shape[1] // TILE
    return [
        [canvas[r * TILE + 30 : (r + 1) * TILE - 4, c * TILE : (c + 1) * TILE - 4] for c in range(columns)]
        for r in range(rows)
    ]


def test_the_bundle_that_trains_on_the_set_decides_what_is_shown(prepared):
    path = preview(prepared, images=2, variants=3, image_size=64)
    assert path == prepared / "preview.png"
    shown = tiles(path)
    assert len(shown) == 2 and all(len(row) == 4 for row in shown)
    for row in shown:
        assert all(tile.std() > 5 for tile in row)
        assert len({tile.tobytes() for tile in row}) == 4
        # The outline is drawn in a colour on gray.
        assert np.ptp(row[0].astype(int), axis=-1).max() > 100


def test_the_same_seed_shows_the_same_and_another_something_else(prepared, tmp_path):
    first, again, other = (
        preview(prepared, out=tmp_path / f"{name}.png", images=2, variants=1, image_size=64, seed=seed).read_bytes()
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again != other


def test_any_transform_can_be_shown(prepared, tmp_path):
    items = read_cases(prepared).training[:2]
    transform = Compose(
        [
            Lambdad(["image", "label"], lambda path: np.float32(read_gray(path))),
            EnsureChannelFirstd(["image", "label"], channel_dim="no_channel"),
            RandFlipd(["image", "label"], prob=1.0, spatial_axis=1),
            RandScaleIntensityd("image", factors=0.5, prob=1.0),
        ]
    )
    shown = tiles(write_preview(items, transform, tmp_path / "shown.png", variants=2))
    assert len(shown) == 2 and len(shown[0]) == 3
    # Every version is flipped, the image as prepared is not.
    flipped = shown[0][1][:, ::-1].astype(int)
    assert np.abs(flipped - shown[0][0]).mean() < np.abs(shown[0][1].astype(int) - shown[0][0]).mean()


def test_a_bundle_that_does_not_exist_gets_a_sentence(prepared):
    with pytest.raises(BreastkitError, match=r"has no configs/train\.json; name a bundle with --bundle"):
        preview(prepared, bundle="breast_xray")
