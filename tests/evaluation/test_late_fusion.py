import json

import numpy as np
import pandas as pd
import pytest

from breastkit import cli
from breastkit.cases import write_cases
from breastkit.errors import BreastkitError
from breastkit.evaluation.late_fusion import evaluate_late_fusion


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """120 pictures of 60 cases; picture and BI-RADS each know something, the site knows nothing."""
    folder, random = tmp_path_factory.mktemp("answered"), np.random.default_rng(0)
    rows, items = [], []
    for number in range(120):
        malignant = number // 2 % 3 == 0
        name = f"{number}.png"
        score = 1 / (1 + np.exp(-random.normal(1.0 if malignant else -1.0, 1.5)))
        kind = "malignant" if malignant else "benign"
        rows.append({"case": f"case {number // 2}", "image": name, "class": kind, "p_malignant": score})
        item = {"image": str(folder / name), "case": f"case {number // 2}", "class": kind, "site": "ab"[number % 2]}
        if number % 5:
            item["birads"] = str(int(np.clip(round(random.normal(4.3 if malignant else 3.2, 0.7)), 2, 5)))
        items.append(item)
    pd.DataFrame(rows).to_csv(folder / "metrics.csv", index=False)
    write_cases(folder, {"training": [], "test": items}, facts={"name": "answered"})
    return folder


def test_what_knows_something_else_adds_and_noise_does_not(answered, tmp_path):
    words = ["evaluate", "late", str(answered), "--cases", str(answered), "--columns", "birads", "--out", str(tmp_path)]
    assert cli.main(words) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    methods = summary["methods"]
    assert summary["known"] == {"birads": 96} and summary["cases"] == 60
    assert methods["image and table"]["gained"][1] > 0
    areas = {name: figures["auc"][0] for name, figures in methods.items()}
    assert areas["image"] < areas["image and table, some missing"] < areas["image and table"]
    evaluate_late_fusion(str(answered), cases=str(answered), columns=["site"], out=str(tmp_path / "site"))
    noise = json.loads((tmp_path / "site" / "summary.json").read_text())["methods"]
    assert abs(noise["image and table"]["gained"][0]) < 0.02 and noise["table"]["auc"][0] < 0.6


@pytest.mark.parametrize(("column", "sentence"), [("histology", "is the outcome itself"), ("age", "has 'age'")])
def test_outcomes_and_unknown_facts_are_refused(answered, tmp_path, column, sentence):
    with pytest.raises(BreastkitError, match=sentence):
        evaluate_late_fusion(str(answered), cases=str(answered), columns=[column], out=str(tmp_path))
