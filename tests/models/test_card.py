"""Figures of a model card are written from the summaries they come from."""

import json
import shutil
from pathlib import Path

import pytest

from breastkit.errors import BreastkitError
from breastkit.models.card import fill_card
from breastkit.models.card_figures import measured, problems

NAME = "breast_us_lesion_segmentation"
BUNDLE = Path(__file__).parents[2] / "bundles" / NAME


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    shutil.copytree(BUNDLE, tmp_path / NAME, ignore=shutil.ignore_patterns("fold[0-9]", "*.ipynb"))
    monkeypatch.setenv("BREASTKIT_BUNDLES", str(tmp_path))
    return tmp_path / NAME


def test_a_card_that_is_right_stays_and_says_what_is_in_use(bundle):
    fill_card(NAME)
    text = (bundle / "docs/README.md").read_text()
    digest = json.loads((bundle / "models/model.json").read_text())["sha256"]
    before, after = text.split("## Weights in use")
    assert f"| sha256 | {digest} |" in after
    assert (BUNDLE / "docs/README.md").read_text().startswith(before)
    fill_card(NAME)
    assert (bundle / "docs/README.md").read_text() == text


def test_changed_summaries_change_tables_prose_and_comments(bundle):
    path = bundle / "docs/measured/sites/summary.json"
    summary = json.loads(path.read_text())
    summary["sites"]["busi"]["lesion_images"]["dice"] = [0.5, 0.25, 0.75]
    summary["sites"]["busbra"]["lesion_images"]["without_mask"] = 77
    path.write_text(json.dumps(summary))
    text = fill_card(NAME, out=str(bundle / "card.md")).read_text()
    assert "| 0.500 (0.250 to 0.750) |" in text
    assert "Nothing is outlined in 77 and 37 of the" in text
    assert problems(text, measured(bundle), ("Performance", "Limitations")) == []


def test_an_unknown_source_changes_nothing(bundle):
    card = bundle / "docs/README.md"
    shutil.rmtree(bundle / "docs/measured/phantoms")
    before = card.read_text()
    with pytest.raises(BreastkitError, match=r"README.md is left as it is: phantoms/lesion_images/dice"):
        fill_card(NAME)
    assert card.read_text() == before
