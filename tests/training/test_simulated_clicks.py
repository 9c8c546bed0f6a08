from types import SimpleNamespace

import numpy as np
import pytest
import torch

from breastkit.training import ClickedIteration, next_click
from breastkit.training.simulated_clicks import _surroundings


def disc(row, column, radius, size=(48, 64)):
    rows, columns = np.ogrid[: size[0], : size[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


class TestNextClick:
    def test_the_first_click_is_in_the_middle_of_what_is_missing(self):
        click = next_click(np.zeros((48, 64), bool), disc(20, 30, 8) | disc(40, 5, 4))
        assert (click.row, click.column, click.inside) == (20, 30, True)

    def test_what_is_too_much_is_removed_where_that_is_the_thicker_error(self):
        truth = disc(20, 30, 8)
        click = next_click(truth | disc(40, 55, 5), truth | disc(8, 8, 3))
        assert (click.row, click.column, click.inside) == (40, 55, False)

    def test_what_touches_the_border_of_the_picture_is_no_deeper_for_that(self):
        truth = np.zeros((48, 64), bool)
        truth[:, :9] = True
        assert next_click(np.zeros_like(truth), truth).column == 4

    def test_nothing_wrong_is_no_click(self):
        assert next_click(disc(20, 30, 8), disc(20, 30, 8)) is None

    def test_an_annotator_of_a_training_clicks_somewhere_in_the_thick_of_it(self):
        truth, draw = disc(20, 30, 8), np.random.default_rng(0)
        clicks = [next_click(np.zeros_like(truth), truth, draw) for _ in range(20)]
        assert len(set(clicks)) > 5
        assert all((click.row - 20) ** 2 + (click.column - 30) ** 2 < 6**2 for click in clicks)


class Engine:
    """What the iteration asks of MONAI's engines: a network that outlines what is marked, and what it was shown."""

    def __init__(self):
        self.state = SimpleNamespace(device=torch.device("cpu"))
        self.network = torch.nn.Identity()
        self.shown = []

    def inferer(self, image, network):
        # More where something is to be added or was before, less where it is to be removed.
        planes = image[:, 1:]
        return 10 * (planes[:, :1] + planes[:, 2:] - planes[:, 1:2]) - 5 if image.shape[1] > 1 else image - 10

    def _iteration(self, engine, batch):
        self.shown.append(batch)
        return batch


@pytest.fixture
def batch():
    label = torch.from_numpy(np.stack([disc(20, 30, 8), disc(30, 20, 12)])).float()[:, None]
    torch.manual_seed(0)
    return {"image": torch.randn(2, 1, 48, 64), "label": label}


def test_half_of_the_batches_have_no_prompts_and_the_others_up_to_six_clicks(batch):
    torch.manual_seed(1)
    engine, iteration = Engine(), ClickedIteration()
    for _ in range(120):
        iteration(engine, batch)
    shown = [one["image"] for one in engine.shown]
    plain = [image for image in shown if image.shape[1] == 1]
    assert 40 < len(plain) < 80
    assert all(torch.equal(image, batch["image"]) for image in plain)
    marks = [(image[:, 1:3] == 1).sum((1, 2, 3)).max().item() for image in shown if image.shape[1] == 4]
    assert min(marks) == 0 and 4 <= max(marks) <= 6
    assert any(image[:, 2].any() for image in shown if image.shape[1] == 4), "something was removed"
    assert all(image[:, 1:].min() >= 0 and image[:, 1:].max() <= 1 for image in shown if image.shape[1] == 4)


def test_the_seed_of_an_epoch_decides_what_is_clicked(batch):
    answers = []
    for _ in range(2):
        torch.manual_seed(5)
        engine = Engine()
        for _ in range(6):
            ClickedIteration()(engine, batch)
        answers.append([one["image"] for one in engine.shown])
    assert all(torch.equal(one, other) for one, other in zip(*answers, strict=True))


def test_validation_clicks_into_the_middle_and_draws_nothing(batch):
    engine, before = Engine(), torch.get_rng_state()
    ClickedIteration(clicks=1)(engine, batch)
    assert torch.equal(before, torch.get_rng_state())
    (shown,) = engine.shown
    assert torch.equal(shown["image"][:, :1], batch["image"]) and torch.equal(shown["label"], batch["label"])
    assert shown["image"][0, 1, 20, 30] == shown["image"][1, 1, 30, 20] == 1


def test_surroundings_show_the_whole_lesion_larger_and_move_picture_and_mask_alike():
    label = torch.from_numpy(disc(20, 30, 5)).float()[None, None]
    image = 2 * label + 1
    shown = _surroundings(image, label, np.random.default_rng(0))
    assert shown["image"].shape == image.shape
    assert shown["label"].sum() > 1.5 * label.sum()
    inside = shown["image"][shown["label"] > 0.5]
    assert inside.mean() > shown["image"][shown["label"] < 0.5].mean() + 1
    assert float(shown["image"].mean()) == pytest.approx(0, abs=1e-5)
    border = torch.cat([shown["label"][0, 0, [0, -1]].flatten(), shown["label"][0, 0, :, [0, -1]].flatten()])
    assert not border.any()
