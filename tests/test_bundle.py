from pathlib import Path

import pytest

from breastkit.bundle import bundle_folder, is_yes


@pytest.mark.parametrize("value", ["false", "No", False, "0", None])
def test_no(value):
    assert not is_yes(value)


@pytest.mark.parametrize("value", ["true", "True", True, "1", "yes"])
def test_yes(value):
    assert is_yes(value)


def test_a_bundle_lies_beside_the_sources_or_is_the_working_folder(tmp_path, monkeypatch):
    name = "breast_us_lesion_segmentation"
    assert (Path(bundle_folder(name)) / "configs" / "metadata.json").is_file()
    copy = tmp_path / name
    (copy / "configs").mkdir(parents=True)
    (copy / "configs" / "metadata.json").write_text("{}")
    monkeypatch.chdir(copy)
    assert bundle_folder(name) == str(copy)
