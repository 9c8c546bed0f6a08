import json

import pytest
import torch

from breastkit.errors import BreastkitError
from breastkit.networks import SpatialDropoutUNet
from breastkit.training import load_weights, read_model_json, save_weights, ship_weights


def _network():
    torch.manual_seed(0)
    return SpatialDropoutUNet(encoder=[4, 8], bottleneck=8, decoder=[8, 4]).eval()


def _run(folder, state):
    save_weights(folder, _network(), architecture="compact", threshold=0.4)
    (folder / "run.json").write_text(json.dumps({"state": state, "settings": {}}))
    return folder


def test_shipped_weights_are_half_the_size_and_give_the_same_masks(tmp_path):
    run = _run(tmp_path / "run", "finished")
    path = ship_weights(run, tmp_path / "bundle", name="fold0")
    assert path == tmp_path / "bundle" / "models" / "fold0" / "model.pt"
    facts = read_model_json(path)
    assert (facts["architecture"], facts["threshold"]) == ("compact", 0.4)
    assert facts["sha256"] != read_model_json(run)["sha256"]
    image = torch.randn(2, 1, 32, 32)
    shipped = _network()
    torch.nn.init.zeros_(next(shipped.parameters()))
    load_weights(path, shipped)
    with torch.no_grad():
        difference = (shipped(image).sigmoid() - _network()(image).sigmoid()).abs().max()
    assert next(shipped.parameters()).dtype == torch.float32
    assert 0 < difference < 1e-3


def test_an_unfinished_run_is_not_shipped(tmp_path):
    with pytest.raises(BreastkitError, match="no finished run"):
        ship_weights(_run(tmp_path / "run", "running"), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_weights_trained_on_everything_take_their_choices_from_the_folds(tmp_path):
    runs = []
    for number, (low, high, largest) in enumerate([(0.5, 0.7, 0.6), (0.8, 0.7, 0.9)]):
        runs.append(_run(tmp_path / f"run{number}", "finished"))
        (runs[-1] / "thresholds.csv").write_text(f"threshold,dice\n0.3,{low}\n0.6,{high}\n")
        table = f"largest_only,minimum_share,dice\nFalse,0.0,0.7\nTrue,0.001,{largest}\n"
        (runs[-1] / "clean_up.csv").write_text(table)
    facts = read_model_json(ship_weights(runs[0], tmp_path / "bundle", folds=runs))
    assert facts["threshold"] == 0.6
    assert facts["clean_up"] == {"largest_only": True, "minimum_share": 0.001}
    assert (facts["fold"], facts["unseen"]) == (None, [])
    (runs[1] / "clean_up.csv").unlink()
    with pytest.raises(BreastkitError, match="finish the run of this fold"):
        ship_weights(runs[0], tmp_path / "bundle", folds=runs)
