import csv

import numpy as np
import torch
from monai.engines import SupervisedEvaluator
from torch import nn
from torch.utils.data import DataLoader

from breastkit.training import CleanUpSearch, read_model_json, save_weights


def picture(*, specks, lesion):
    """Logits and truth of a square with specks that are false and a lesion that is true."""
    logits, truth = torch.full((1, 64, 64), -5.0), torch.zeros(1, 64, 64)
    for row in range(specks):
        logits[:, 4 * row + 1 : 4 * row + 3, 1:3] = 5
    if lesion:
        logits[:, 20:40, 30:50] = 5
        truth[:, 20:40, 30:50] = 1
    return {"image": logits, "label": truth, "case": 0}


def search(folder, pictures):
    save_weights(folder, nn.Identity(), threshold=0.5, figures={"val_dice": 0.1})
    evaluator = SupervisedEvaluator("cpu", DataLoader(pictures[:1]), nn.Identity())
    CleanUpSearch(folder, evaluator, dataloader=DataLoader(pictures, 2)).run()
    return read_model_json(folder)


def test_specks_are_removed_where_that_helps(tmp_path):
    facts = search(tmp_path, [picture(specks=5, lesion=True), picture(specks=1, lesion=False)])
    # Four pixels of 64 x 64 are 0.00098 of it; the smallest share above takes them away.
    assert facts["clean_up"] == {"largest_only": False, "minimum_share": 0.001}
    assert facts["figures"]["val_dice_all_images_cleaned"] == 1
    assert facts["figures"]["val_dice_all_images"] < 0.6
    rows = list(csv.DictReader((tmp_path / "clean_up.csv").open()))
    assert len(rows) == 12
    best = max(float(row["dice"]) for row in rows)
    assert best == facts["figures"]["val_dice_all_images_cleaned"]


def test_nothing_is_done_where_nothing_helps(tmp_path):
    facts = search(tmp_path, [picture(specks=0, lesion=True), picture(specks=0, lesion=False)])
    assert facts["clean_up"] == {"largest_only": False, "minimum_share": 0.0}


def test_the_largest_piece_alone_where_others_are_large_too(tmp_path):
    item = picture(specks=0, lesion=True)
    item["image"][:, 45:60, 5:20] = 5
    facts = search(tmp_path, [item])
    assert facts["clean_up"]["largest_only"]
    assert np.isclose(facts["figures"]["val_dice_all_images_cleaned"], 1)
