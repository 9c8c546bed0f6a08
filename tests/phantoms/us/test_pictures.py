import cv2
import numpy as np
import pydicom
import pytest

from breastkit.errors import UsageError
from breastkit.images import read_gray, read_mask
from breastkit.phantoms.us.acquisition import acquire, draw_scatterers, random_machine
from breastkit.phantoms.us.lesions import add_lesion
from breastkit.phantoms.us.pictures import LABELS, make_us_cine, make_us_phantom, write_us_phantoms
from breastkit.phantoms.us.probe import SHAPES, Probe, random_probe
from breastkit.phantoms.us.tissue import Tissue, make_tissue
from breastkit.seeding import generator

SIZE = (180, 220)


def probe_of(shape):
    return next(
        probe for probe in (random_probe(generator(0, number), SIZE) for number in range(200)) if probe.shape == shape
    )


def even_tissue(probe, label, number):
    """A lesion alone in tissue without structure."""
    shape = (probe.rows, probe.columns)
    tissue = Tissue(np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.uint8), probe.inside)
    assert add_lesion(generator(3, number), probe, tissue, label)
    return tissue


def outlines(label, count=24):
    probe = Probe("linear", 300, 360, 0.12)
    for number in range(count):
        contours, _ = cv2.findContours(even_tissue(probe, label, number).mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        yield max(contours, key=cv2.contourArea)


@pytest.mark.parametrize("label", LABELS)
def test_a_phantom_has_its_label_and_a_mask_that_fits(label):
    phantom = make_us_phantom(0, 4, label=label, size=SIZE)
    assert phantom.label == label
    assert phantom.image.shape == phantom.mask.shape == SIZE
    assert phantom.image.dtype == phantom.mask.dtype == np.uint8
    assert set(np.unique(phantom.mask)) == ({0} if label == "normal" else {0, 1})
    assert phantom.image.std() > 8


def test_the_same_seed_gives_the_same_pixels_and_another_another():
    first, again = make_us_phantom(1, 5, size=SIZE), make_us_phantom(1, 5, size=SIZE)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert first.settings == again.settings
    for other in (make_us_phantom(2, 5, size=SIZE), make_us_phantom(1, 11, size=SIZE)):
        assert other.label == first.label
        assert not np.array_equal(first.image, other.image)


def test_another_label_is_refused():
    with pytest.raises(UsageError, match="'cyst' is no label"):
        make_us_phantom(0, 0, label="cyst")
    with pytest.raises(UsageError, match="at least 1"):
        write_us_phantoms("unused", cases=0)


def test_benign_lesions_are_smooth_and_wide_and_malignant_ones_are_not():
    def describe(contour):
        solidity = cv2.contourArea(contour) / cv2.contourArea(cv2.convexHull(contour))
        _, _, width, height = cv2.boundingRect(contour)
        return solidity, height / width

    benign, malignant = (np.array([describe(each) for each in outlines(label)]) for label in ("benign", "malignant"))
    assert benign[:, 0].mean() > 0.96 > 0.93 > malignant[:, 0].mean()
    assert (benign[:, 1] < 1).mean() > 0.85
    assert (malignant[:, 1] > 1).mean() > 0.2


def test_sound_is_lost_behind_malignant_lesions_and_gained_behind_cysts():
    probe = Probe("linear", 300, 360, 0.12)
    behind = {"benign": [], "malignant": []}
    for label, taken in behind.items():
        for number in range(24):
            tissue = even_tissue(probe, label, number)
            columns = np.flatnonzero(tissue.mask.sum(0) > 0.7 * tissue.mask.sum(0).max())
            taken.append(tissue.attenuation[:, columns].sum(0).mean() * probe.spacing)
    assert np.mean(behind["malignant"]) > 2 > 0 > np.mean(behind["benign"])


@pytest.mark.parametrize("shape", SHAPES)
def test_beams_and_picture_undo_each_other(shape):
    probe = probe_of(shape)
    y, x = np.mgrid[: probe.rows, : probe.columns].astype(np.float32)
    smooth = np.sin(x / 25) + np.cos(y / 20)
    back = probe.to_picture(probe.to_beams(smooth))
    inner = cv2.erode(probe.inside.astype(np.uint8), np.ones((7, 7))) > 0
    inner[-4:] = inner[:4] = inner[:, :4] = inner[:, -4:] = False
    assert inner.mean() > 0.4
    assert np.abs(back - smooth)[inner].max() < 0.1
    assert not back[~probe.inside].any()
    assert probe.inside.all() == (shape == "linear")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shadow_lies_along_the_beam_below_what_throws_it(shape):
    probe = probe_of(shape)
    rng = generator(0, "shadow")
    machine = random_machine(rng)
    tissue = make_tissue(rng, probe)
    inner = np.argwhere((probe.depth > 3) & (probe.depth < 4) & probe.inside)
    row, column = inner[len(inner) // 2]
    blocked = tissue.attenuation.copy()
    cv2.circle(blocked, (int(column), int(row)), 6, 40.0, -1)
    scatterers = draw_scatterers(rng, probe, machine)
    pictures = [
        acquire(
            generator(1),
            probe,
            machine,
            Tissue(tissue.echo, attenuation, tissue.mask, tissue.breast),
            scatterers,
        ).astype(int)
        for attenuation in (tissue.attenuation, blocked)
    ]
    darker = (pictures[0] - pictures[1]) > 25
    assert darker[row + 10 :].any()
    assert not darker[: row - 12].any()


def test_a_cine_moves_with_its_mask():
    clip = list(make_us_cine(0, 0, frames=4, size=SIZE))
    assert len(clip) == 4
    assert len({frame.image.tobytes() for frame in clip}) == 4
    centres = np.array([np.argwhere(frame.mask).mean(0) for frame in clip])
    assert np.ptp(centres[:, 1]) > 1
    assert all(frame.mask.any() and frame.image.shape == SIZE for frame in clip)


def test_the_png_layout_is_that_of_busi(tmp_path):
    out = write_us_phantoms(tmp_path / "out", cases=7, seed=2, workers=1)
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {name for name in names if "_mask_" not in name} == {
        f"{label}/{label} ({number}){suffix}.png"
        for label, count in (("benign", 4), ("malignant", 2), ("normal", 1))
        for number in range(1, count + 1)
        for suffix in ("", "_mask")
    }
    image, mask = read_gray(out / "benign" / "benign (1).png"), read_mask(out / "benign" / "benign (1)_mask.png")
    phantom = make_us_phantom(2, 0)
    assert np.array_equal(image, phantom.image)
    parts = [mask, *map(read_mask, (out / "benign").glob("benign (1)_mask_*.png"))]
    assert np.array_equal(np.max(parts, axis=0), phantom.mask)
    assert not read_mask(out / "normal" / "normal (1)_mask.png").any()


def test_dicom_holds_the_same_pictures(tmp_path):
    write_us_phantoms(tmp_path, cases=1, seed=2, dicom=True, workers=1)
    still, clip = (pydicom.dcmread(tmp_path / "us_001" / kind / "us_001.dcm") for kind in ("still", "cine"))
    phantom = make_us_phantom(2, 0)
    assert np.array_equal(still.pixel_array, phantom.image)
    assert clip.pixel_array.shape == (8, *phantom.image.shape)
    assert still.StudyInstanceUID == clip.StudyInstanceUID
    assert still.SequenceOfUltrasoundRegions[0].PhysicalDeltaX == pytest.approx(phantom.spacing / 10)
    assert np.array_equal(read_mask(tmp_path / "masks" / "us_001_mask.png"), phantom.mask)
    assert len(list((tmp_path / "masks").glob("us_001_cine_mask_*.png"))) == 8
