import cv2
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from breastkit.evaluation import PictureEvaluation
from breastkit.evaluation.comparison import compare_runs
from breastkit.evaluation.comparison_pictures import draw_comparison
from breastkit.pictures import PREDICTION, TRUTH


def evaluated(folder, *, shift, lesions=10):
    """A run whose masks lie beside the truth by `shift` times the number of the image; the last shows no lesion."""
    batch, output = [], []
    for number in range(lesions + 1):
        truth = np.zeros((60, 80), np.uint8)
        truth[20:40, 30:50] = number < lesions
        name = f"{number}.png"
        picture = MetaTensor(torch.full((1, 60, 80), 90.0), meta={"filename_or_obj": name})
        batch.append({"case": str(number), "picture": picture})
        prediction = np.roll(truth, shift * number, axis=1)
        output.append({"pred": torch.from_numpy(prediction)[None], "label": torch.from_numpy(truth)[None]})
    evaluation = PictureEvaluation(folder / "evaluation", facts={"architecture": folder.name})
    engine = Engine(lambda _engine, _batch: output)
    evaluation.attach(engine)
    engine.run([batch])
    return folder


@pytest.fixture
def runs(tmp_path):
    return {"good": [evaluated(tmp_path / "good", shift=0)], "bad": [evaluated(tmp_path / "bad", shift=2)]}


def test_image_truth_and_every_run_from_the_worst_to_the_best(runs, tmp_path):
    assert draw_comparison(runs, tmp_path / "pictures.png") == tmp_path / "pictures.png"
    picture = cv2.imread(str(tmp_path / "pictures.png"), cv2.IMREAD_COLOR_RGB)
    assert picture.shape == (22 + 8 * 244, 4 * 244, 3)

    def part(row, column):
        return picture[22 + row * 244 :, column * 244 :][60:200, :240].astype(int)

    def marked(tile, colour):
        return int((np.abs(tile - colour).sum(-1) < 60).sum())

    for row in (0, 7):
        assert marked(part(row, 0), TRUTH) == marked(part(row, 0), PREDICTION) == 0
        assert marked(part(row, 1), TRUTH) > 100
        assert marked(part(row, 2), PREDICTION) > 100
    # Where both agree the prediction covers the truth; in the worst image of the bad run they are apart.
    assert marked(part(0, 3), TRUTH) > 100 > marked(part(0, 2), TRUTH)


def test_comparison_shows_them(runs, tmp_path):
    text = compare_runs([str(tmp_path / name) for name in runs], out=str(tmp_path / "out")).read_text()
    assert "(pictures.png)" in text
    assert (tmp_path / "out" / "pictures.png").is_file()


def test_runs_without_pictures_in_common_have_none(runs, tmp_path):
    for path in (tmp_path / "bad" / "evaluation" / "pictures").iterdir():
        path.unlink()
    assert draw_comparison(runs, tmp_path / "pictures.png") is None
    assert not (tmp_path / "pictures.png").exists()
