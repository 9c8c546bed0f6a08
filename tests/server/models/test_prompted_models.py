"""Clicks and boxes over a real socket, in the order and with the parameters of 3D Slicer's panel SmartEdit."""

import json

import nrrd
import numpy as np
import pytest
import requests
from tests.server.served_app import served
from tests.server.viewed_studies import GRAY, MASK, write_picture

from breastkit.dicom.write_us import write_us_dicom
from breastkit.images import write_png
from breastkit.metrics.segmentation import dice
from breastkit.server.monailabel_fixes import prepare
from breastkit.training import next_click

prepare()
from monailabel.client import MONAILabelClient  # noqa: E402
from monailabel.client.client import MONAILabelClientException  # noqa: E402

LESION = "breast_us_lesion_segmentation"
MODEL = f"{LESION}_clicks"
ROWS, COLUMNS = GRAY.shape


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompts")
    write_png(folder / "studies" / "picture.png", GRAY)
    with served(folder / "studies", conf={"labels": str(folder / "labels")}) as (address, _):
        yield address


@pytest.fixture
def ask(server, tmp_path):
    client = MONAILabelClient(server, tmpdir=str(tmp_path))

    def asked(model=MODEL, image="picture", **params):
        file, said = client.infer(model, image, {"result_extension": ".nrrd", **params})
        assert said["model"] == model
        return nrrd.read(file)[0]

    return asked


def sentence_of(error):
    assert "Status: 400" in str(error.value)
    return str(error.value)


def test_smart_edit_is_offered_what_it_needs(server):
    info = requests.get(f"{server}/info/").json()
    model = info["models"][MODEL]
    # Of a model with labels 3D Slicer sends points by the name of the segment; what removes are those of "background".
    assert (model["type"], model["dimension"]) == ("deepedit", 2)
    assert model["labels"] == {"lesion": 1, "background": 0}
    assert {"lesion", "background"} <= set(info["labels"])
    assert info["models"][LESION]["labels"] == {"lesion": 1}


def test_clicks_lead_from_the_automatic_outline_towards_the_lesion(ask):
    mask, clicks = ask() > 0, {"foreground": [], "background": []}
    assert mask.shape == (COLUMNS, ROWS, 1)
    begun = dice(mask[..., 0].T, MASK)
    for _ in range(4):
        click = next_click(mask[..., 0].T, MASK)
        clicks["foreground" if click.inside else "background"].append([click.column, click.row, 0])
        mask = ask(**clicks) > 0
    assert dice(mask[..., 0].T, MASK) > max(begun, 0.85)


def test_points_by_the_name_of_the_segment_are_those_that_add(ask):
    middle = next_click(np.zeros_like(MASK), MASK)
    point = [middle.column, middle.row, 0]
    mask = ask(foreground=[point], background=[[5, 5, 0]])
    np.testing.assert_array_equal(mask, ask(lesion=[point], background=[[5, 5, 0]], label="lesion", breast=[]))


def test_a_click_that_is_undone_leaves_what_was_there_before_it(ask):
    middle = next_click(np.zeros_like(MASK), MASK)
    first = [[middle.column, middle.row, 0]]
    before = ask(foreground=first)
    ask(foreground=first, background=[*first, [10, 10, 0]])
    np.testing.assert_array_equal(ask(foreground=first), before)


def test_the_piece_that_is_clicked_away_is_gone(ask):
    mask = ask() > 0
    column, row, _ = map(int, np.argwhere(mask)[len(np.argwhere(mask)) // 2])
    assert not ask(background=[[column, row, 0]])[column, row, 0]


def test_a_box_is_outlined_in(ask):
    rows, columns = np.nonzero(MASK)
    # As 3D Slicer sends it where axes run against each other: the larger end first.
    roi = [int(columns.max()), int(columns.min()), int(rows.min()), int(rows.max()), 0, 0]
    assert dice(ask(roi=roi)[..., 0].T > 0, MASK) > 0.8


def test_a_clip_is_outlined_in_the_frames_that_are_clicked_on(tmp_path):
    write_picture(tmp_path / "studies" / "one.dcm")
    clip = np.stack([GRAY, GRAY, GRAY])
    write_us_dicom(tmp_path / "studies" / "clip.dcm", clip, spacing=0.2, patient="CLIP", uid_seed="clip")
    middle = next_click(np.zeros_like(MASK), MASK)
    with served(tmp_path / "studies", conf={"labels": str(tmp_path / "labels")}) as (address, services):
        (image,) = (one.id for one in services.store.images.all().values() if one.info["PatientID"] == "CLIP")
        client = MONAILabelClient(address, tmpdir=str(tmp_path))
        file, _ = client.infer(MODEL, image, {"foreground": [[middle.column, middle.row, 1]]})
        assert nrrd.read(file)[0].any((0, 1)).tolist() == [False, True, False]
        with pytest.raises(MONAILabelClientException) as error:
            client.infer(MODEL, image, {"foreground": [[middle.column, middle.row, 3]]})
    assert "lies outside of the image" in sentence_of(error) and "3 frames" in sentence_of(error)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"foreground": [[COLUMNS, 5, 0]]}, f"lies outside of the image, which has {COLUMNS} columns, {ROWS} rows"),
        ({"foreground": [[5, -1, 0]]}, "nothing was changed, click on the picture"),
        ({"foreground": [[5, 5, 2]]}, "lies outside of the image"),
        ({"background": [[5, 5, n % 7] for n in range(7)] + [[n % 200, n // 200, 0] for n in range(1000)]},
         "at most 100 are followed; nothing was changed, correct the rest with the brush"),
        ({"roi": [COLUMNS + 5, COLUMNS + 9, 0, 9, 0, 0]}, "The box holds nothing of the picture"),
        ({"roi": [1, 2, 3]}, "roi has no value that is allowed"),
        ({"foreground": [[1, 2]]}, "foreground has no value that is allowed"),
        ({"foreground": [["a", 2, 0]]}, "foreground has no value that is allowed"),
        ({"lesion": "here"}, "are no list of [column, row, slice]"),
        ({"foreground": [[1e300, 2, 0]]}, "foreground has no value that is allowed"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_one_sentence_and_loses_nothing(ask, params, told):
    before = ask(foreground=[[30, 40, 0]])
    with pytest.raises(MONAILabelClientException) as error:
        ask(**params)
    assert told in sentence_of(error)
    np.testing.assert_array_equal(ask(foreground=[[30, 40, 0]]), before)


def test_a_model_that_follows_none_names_one_that_does(ask):
    with pytest.raises(MONAILabelClientException) as error:
        ask(LESION, foreground=[[5, 5, 0]])
    assert f"{LESION} follows no clicks, boxes or scribbles, so it did not run; ask {MODEL}" in sentence_of(error)
    # What 3D Slicer sends of segments nobody pointed at is no prompt.
    assert ask(LESION, foreground=[], lesion=[]).shape == (COLUMNS, ROWS, 1)


def test_what_was_followed_is_kept_as_the_prediction_where_that_is_asked_for(server, ask):
    middle = next_click(np.zeros_like(MASK), MASK)
    ask(foreground=[[middle.column, middle.row, 0]], save_label=True)
    labels = requests.get(f"{server}/datastore/?output=all").json()["objects"]["picture"]["labels"]
    assert json.dumps(labels) and "original" in labels
