"""Strokes over a real socket, with the file and the parameters of 3D Slicer's panel Scribbles."""

import nrrd
import numpy as np
import pytest
from tests.server.served_app import served
from tests.server.viewed_studies import GRAY, MASK

from breastkit.images import write_nifti, write_png
from breastkit.metrics.segmentation import dice
from breastkit.server.labels.label_files import write_labels
from breastkit.server.monailabel_fixes import prepare
from breastkit.server.studies.study_images import PICTURE_AFFINE

prepare()
from monailabel.client import MONAILabelClient  # noqa: E402
from monailabel.client.client import MONAILabelClientException  # noqa: E402

PICTURES, VOLUMES = (f"breast_{one}_lesion_segmentation_scribbles" for one in ("us", "mri"))
LAYERS = [
    {"name": "lesion", "id": 1}, {"name": "background_scribbles", "id": 2}, {"name": "foreground_scribbles", "id": 3},
]  # fmt: skip
AFFINE = np.diag([-1.0, 2.0, 3.0, 1.0])


def ball(radius):
    axes = np.ogrid[:40, :36, :12]
    return sum(((axis - at) / scale) ** 2 for axis, at, scale in zip(axes, (18, 20, 6), (1, 1, 0.4), strict=True)) <= (
        radius**2
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scribbled")
    write_png(folder / "studies" / "picture.png", GRAY)
    # Signal of MR has no unit: thousands here.
    volume = 3000 + 2500 * ball(7) + np.random.default_rng(0).normal(0, 200, ball(7).shape)
    write_nifti(folder / "studies" / "volume.nii.gz", volume.astype(np.float32), AFFINE)
    with served(folder / "studies", conf={"labels": str(folder / "labels")}) as (address, services):
        yield address, services


@pytest.fixture
def cut(server, tmp_path):
    client = MONAILabelClient(server[0], tmpdir=str(tmp_path))

    def cut(model, image, strokes, affine, **params):
        path = write_labels(tmp_path / "strokes.nrrd", strokes.astype(np.uint8), affine)
        params = {"label_info": LAYERS, "selected_label_name": "lesion", "roi": [], **params}
        file, _ = client.infer(model, image, params, label_in=str(path))
        return nrrd.read(file)[0] > 0

    return cut


def strokes_on_picture():
    """A stroke through the lesion and one around it."""
    strokes = np.zeros((*MASK.T.shape, 1))
    rows, columns = np.nonzero(MASK)
    row, (left, right) = int(rows.mean()), (int(columns.min()), int(columns.max()))
    strokes[left + 8 : right - 8, row - 2 : row + 3, 0] = 3
    for column in (max(2, left - 16), min(strokes.shape[0] - 3, right + 16)):
        strokes[column - 2 : column + 3, rows.min() : rows.max(), 0] = 2
    return strokes


def test_a_picture_is_cut_between_strokes(cut):
    strokes = strokes_on_picture()
    mask = cut(PICTURES, "picture", strokes, PICTURE_AFFINE)
    assert dice(mask[..., 0].T, MASK) > 0.5
    assert mask[strokes == 3].all() and not mask[strokes == 2].any()


def test_a_volume_is_cut_in_three_dimensions(cut):
    strokes = np.zeros(ball(7).shape)
    strokes[15:22, 19:22, 6] = 3
    strokes[4:7, 5:30, 6] = strokes[30:33, 5:30, 6] = 2
    mask = cut(VOLUMES, "volume", strokes, AFFINE)
    assert dice(mask, ball(7)) > 0.8


def test_a_box_keeps_the_cut_inside(cut):
    strokes = np.zeros(ball(7).shape)
    strokes[15:22, 19:22, 6] = 3
    mask = cut(VOLUMES, "volume", strokes, AFFINE, roi=[10, 26, 12, 28, 5, 7])
    assert mask.any() and mask[:, :, 5:8].sum() == mask.sum()


def test_scribbles_that_cannot_be_followed_are_one_sentence(cut, server):
    strokes = strokes_on_picture()
    for changed, told in (
        ({"label_info": []}, "names no layers foreground_scribbles and background_scribbles"),
        ({"label_info": "x"}, "label_info has no value that is allowed"),
    ):
        with pytest.raises(MONAILabelClientException, match=told):
            cut(PICTURES, "picture", strokes, PICTURE_AFFINE, **changed)
    with pytest.raises(MONAILabelClientException, match="Nothing is scribbled over with foreground_scribbles"):
        cut(PICTURES, "picture", np.where(strokes == 3, 0, strokes), PICTURE_AFFINE)
    with pytest.raises(MONAILabelClientException, match="follows clicks and a box, no scribbles"):
        cut(PICTURES.replace("scribbles", "clicks"), "picture", strokes, PICTURE_AFFINE)
    with pytest.raises(MONAILabelClientException, match="follows scribbles alone; send them as a label file"):
        MONAILabelClient(server[0]).infer(PICTURES, "picture", {"foreground": [[1, 2, 0]]})
