import json

import pytest
import torch

from breastkit.errors import BreastkitError
from breastkit.training import average_runs, load_weights, read_model_json, save_weights


def _run(folder, value, *, state="finished", **facts):
    weights = {"weight": torch.full((2, 2), value), "num_batches_tracked": torch.tensor(7)}
    save_weights(folder, weights, **{"architecture": "compact", "fold": 0, "run": folder.name, **facts})
    (folder / "run.json").write_text(json.dumps({"state": state}))
    return folder


def test_the_mean_of_the_weights_without_their_rules(tmp_path):
    runs = [_run(tmp_path / "short", 1.0, threshold=0.3), _run(tmp_path / "long", 2.0, threshold=0.7)]
    path = average_runs(runs, tmp_path / "mean")
    assert path == tmp_path / "mean/model.pt"
    weights = load_weights(path)
    assert (weights["weight"] == 1.5).all()
    assert weights["num_batches_tracked"] == 7
    facts = read_model_json(path)
    facts.pop("sha256")
    assert facts == {"architecture": "compact", "fold": 0, "run": "mean", "averaged": ["short", "long"]}


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"fold": 1}, "differs from .*first in fold; average runs of one network"),
        ({"architecture": "reference"}, "in architecture"),
        ({"unseen": ["a"]}, "in unseen"),
        ({"state": "running"}, "holds no finished run"),
    ],
)
def test_what_does_not_belong_together_is_refused(tmp_path, other, words):
    runs = [_run(tmp_path / "first", 1.0), _run(tmp_path / "second", 2.0, **other)]
    with pytest.raises(BreastkitError, match=words):
        average_runs(runs, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_one_run_has_no_mean(tmp_path):
    with pytest.raises(BreastkitError, match="two runs or more"):
        average_runs([_run(tmp_path / "first", 1.0)], tmp_path / "mean")
