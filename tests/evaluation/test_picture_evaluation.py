import json

import numpy as np
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from breastkit.evaluation import PictureEvaluation


def test_figures_of_every_site_and_device(tmp_path):
    square = np.zeros((20, 20), bool)
    square[5:15, 5:15] = True
    nothing = np.zeros_like(square)
    # Site, device, truth, prediction: outlined here, missed there, and a false mask there.
    pictures = [
        ("here", "A", square, square),
        ("here", "A", square, square),
        ("there", "A", square, nothing),
        ("there", "B", nothing, square),
        ("there", "B", square, square),
    ]
    batch, output = [], []
    for number, (site, device, truth, prediction) in enumerate(pictures):
        picture = MetaTensor(torch.full((1, 20, 20), 90.0), meta={"filename_or_obj": f"{number}.png"})
        batch.append({"case": str(number), "picture": picture, "site": site, "device": device})
        output.append({"pred": torch.from_numpy(prediction)[None], "label": torch.from_numpy(truth)[None]})
    engine = Engine(lambda _engine, _batch: output)
    PictureEvaluation(tmp_path).attach(engine)
    engine.run([batch])
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [summary["sites"][site]["lesion_images"]["dice"][0] for site in ("here", "there")] == [1.0, 0.5]
    assert summary["sites"]["there"]["images_without_lesion"]["share_with_false_mask"][0] == 1.0
    assert {name: part["images"] for name, part in summary["devices"].items()} == {"A": 3, "B": 2}
    assert "lesion images of there" in (tmp_path / "index.html").read_text()
