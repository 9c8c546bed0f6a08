import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.transforms import Compose, Invertd

from benchmarks.letterbox import compare
from breastkit.transforms.letterbox import Letterbox
from breastkit.transforms.letterbox_slices import (
    LetterboxSlicesd,
    letterbox_images,
    letterbox_masks,
    slice_percentiles,
    unletterbox,
)

AFFINE = torch.tensor([[-0.7, 0, 0, 30], [0, 0.7, 0, -20], [0, 0, 2, 5], [0, 0, 0, 1]], dtype=torch.float64)


def volume(shape=(40, 28, 5), seed=0):
    random = np.random.default_rng(seed)
    image = random.gamma(2, 50, shape).astype(np.float32)
    return MetaTensor(torch.from_numpy(np.asfortranarray(image))[None], affine=AFFINE)


@pytest.mark.parametrize(("shape", "size"), [((64, 48, 3), 32), ((30, 45, 2), 64), ((32, 32, 4), 32)])
def test_equals_monai_per_slice(shape, size):
    figures = compare(shape, size, rounds=1)
    assert figures["image_difference"] < 1e-4
    assert figures["label_difference"] == 0


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from([np.int16, np.float32]),
    st.floats(-1e4, 1e4),
    st.tuples(st.floats(0, 100), st.floats(0, 100)),
)
def test_percentiles_equal_numpys(seed, kind, offset, percentiles):
    random = np.random.default_rng(seed)
    image = (random.gamma(0.5, 300, (23, 31)) + offset).astype(kind).astype(np.float32)
    image[: seed % 23] = image[0, 0]
    assert slice_percentiles(image, percentiles) == pytest.approx(np.percentile(image, percentiles), rel=1e-4, abs=1e-3)


def test_percentiles_of_extreme_ranges():
    image = np.zeros((8, 8), np.float32)
    image[0, 0], image[0, 1] = 1e-42, 3e38
    assert slice_percentiles(image, (1.0, 50.0)) == pytest.approx((0, 0))
    tiny = np.zeros((8, 8), np.float32)
    tiny[0, 0] = 1e-42
    assert np.isfinite(slice_percentiles(tiny, (1.0, 99.0))).all()


def test_memory_order_does_not_matter():
    image = np.random.default_rng(0).normal(size=(20, 33, 47)).astype(np.float32)
    transposed = np.ascontiguousarray(image.T).T
    box = Letterbox(33, 47, 24)
    np.testing.assert_array_equal(letterbox_images(image, box), letterbox_images(transposed, box))


def test_slices_are_normalised_and_flat_ones_are_zero():
    image = np.random.default_rng(0).normal(500, 30, (4, 40, 24)).astype(np.float32)
    image[1] = 500
    image[2] = 0
    image[2, 3, 3] = 9000  # a hot pixel on nothing is above the 99th percentile
    result = letterbox_images(image, Letterbox(40, 24, 32))
    assert np.isfinite(result).all()
    assert not result[1].any()
    assert not result[2].any()
    for number in (0, 3):
        assert result[number].mean() == pytest.approx(0, abs=1e-5)
        assert result[number].std() == pytest.approx(1, abs=1e-4)


def test_offset_and_gain_of_the_scanner_do_not_matter():
    image = np.random.default_rng(0).gamma(2, 50, (2, 40, 24)).astype(np.float32)
    box = Letterbox(40, 24, 32)
    np.testing.assert_allclose(letterbox_images(image, box), letterbox_images(image * 3 + 700, box), atol=2e-3)


def test_padding_is_symmetric_and_upright():
    result = LetterboxSlicesd(("image", "label"), 32)({"image": volume(), "label": volume((40, 28, 5)) > 100})
    assert result["image"].shape == (1, 32, 32, 5)
    # 40 columns and 28 rows: full width, rows 22 of 32 centred
    filled = (result["image"] != result["image"][:, :1, :1]).any(dim=-1)[0]
    assert torch.equal(filled.any(dim=1).nonzero().flatten(), torch.arange(5, 27))
    assert set(result["label"].unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(("wide", "high"), [(2.0, 1.0), (1.0, 3.0), (0.7, 0.7)])
def test_what_is_round_in_the_body_is_round_in_the_square(wide, high):
    """Pixels are wide where a study is stored in other planes than it is read in, and its slices are thick."""
    columns, rows = round(120 / wide), round(90 / high)
    x, y = (np.arange(columns) + 0.5) * wide - 60, (np.arange(rows) + 0.5) * high - 45
    ball = (x[:, None] ** 2 + y[None] ** 2 < 30**2).astype(np.float32)[..., None].repeat(2, -1)
    data = {
        key: MetaTensor(torch.from_numpy(ball[None]), affine=np.diag([wide, high, 1, 1])) for key in ("image", "label")
    }
    letterbox = LetterboxSlicesd(("image", "label"), 120)
    squares = letterbox(data)
    filled = [np.ptp(torch.nonzero(squares["label"][0, ..., 0])[:, axis].numpy()) + 1 for axis in (0, 1)]
    assert filled == pytest.approx([60, 60], abs=2 * max(wide, high))
    back = letterbox.inverse(squares)
    assert (back["label"].as_tensor()[0].numpy() != ball).mean() < 0.01
    np.testing.assert_allclose(back["label"].affine, np.diag([wide, high, 1, 1]), atol=1e-9)


@settings(max_examples=40, deadline=None)
@example(columns=19, rows=39, size=50)
@given(st.integers(2, 70), st.integers(2, 70), st.sampled_from([16, 32, 50]))
def test_the_inverse_brings_blocks_back(columns, rows, size):
    box = Letterbox(rows, columns, size)
    mask = np.zeros((2, rows, columns), np.float32)
    mask[:, rows // 4 : rows // 2 + 1, columns // 3 : columns // 2 + 1] = 1
    squares = letterbox_masks(mask, box)
    for nearest in (True, False):
        back = unletterbox(squares, box, nearest=nearest)
        assert back.shape == mask.shape
        if max(rows, columns) <= size:
            # Drawn larger, a corner of the block may come back as nearly a half; nothing else is in doubt.
            differs = (back > 0.5) != (mask > 0.5)
            assert differs.sum(axis=(1, 2)).max() <= (0 if nearest else 1)
            assert (np.abs(back[differs] - 0.5) < 0.05).all()


def test_invertd_returns_probabilities_to_the_grid():
    transform = Compose([LetterboxSlicesd("image", 32)])
    source = volume()
    done = transform({"image": source})
    # World positions stay: the affine of the letterboxed volume maps its voxels to where their content was.
    corner = done["image"].affine @ torch.tensor([5 - 0.5 + 22 / 28 / 2, -0.5 + 32 / 40 / 2, 0, 1], dtype=torch.float64)
    torch.testing.assert_close(corner, AFFINE @ torch.tensor([0.0, 0, 0, 1], dtype=torch.float64))

    batch = decollate_batch(list_data_collate([done]))[0]
    prediction = torch.zeros(2, 32, 32, 5)
    prediction[1, 5:16] = 1  # the upper half of the slices
    for nearest in (False, True):
        inverted = Invertd("pred", transform, "image", nearest_interp=nearest, to_tensor=True)(
            {"pred": MetaTensor(prediction), **batch}
        )["pred"]
        assert inverted.shape == (2, 40, 28, 5)
        torch.testing.assert_close(inverted.affine, AFFINE)
        assert not inverted[0].any()
        assert (inverted[1, :, :13] > 0.5).all()
        assert not (inverted[1, :, 15:] > 0.5).any()


def test_refuses_what_is_no_single_channel_volume():
    with pytest.raises(ValueError, match="one channel of a volume"):
        LetterboxSlicesd("image", 16)({"image": torch.zeros(3, 8, 8, 2)})
    with pytest.raises(KeyError):
        LetterboxSlicesd("image", 16)({})
    assert LetterboxSlicesd("image", 16, allow_missing_keys=True)({}) == {}
    with pytest.raises(ValueError, match="image_size"):
        LetterboxSlicesd("image", 0)
    with pytest.raises(ValueError, match="percentiles"):
        LetterboxSlicesd("image", 8, percentiles=(99, 1))
