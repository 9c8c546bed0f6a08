import numpy as np
import pytest
from monai.data import DataLoader
from monai.transforms import Compose, Lambda

from breastkit.errors import BreastkitError
from breastkit.images import write_nifti
from breastkit.inference import ReadableCases


def refuse_bad(item):
    if "bad" in item["image"]:
        raise BreastkitError(f"{item['image']} is broken; mend it.")
    return item


def items(*names):
    return [{"image": name} for name in names]


def test_a_bad_case_is_left_out_named_and_raised_at_the_end(capsys):
    # Compose wraps the sentence, as MONAI's transforms do.
    dataset = ReadableCases(items("a", "bad1", "b", "bad2"), Compose([Lambda(refuse_bad)]))
    loaded = [batch["image"] for batch in DataLoader(dataset, batch_size=1)]
    assert loaded == [["a"], ["b"]]
    assert "Left out: bad1 is broken; mend it." in capsys.readouterr().err
    with pytest.raises(BreastkitError, match=r"2 of 4 scans could not be used, the others are done: bad1 .*; bad2 .*"):
        dataset.raise_failures()


def test_another_pass_starts_afresh():
    dataset = ReadableCases(items("a", "bad"), refuse_bad)
    assert len(list(dataset)) == len(list(dataset)) == 1
    assert len(dataset.failures) == 1


def test_all_bad_ends_at_once_with_what_is_wrong():
    with pytest.raises(BreastkitError, match=r"^bad is broken; mend it\.$"):
        list(ReadableCases(items("bad"), refuse_bad))
    with pytest.raises(BreastkitError, match=r"^None of 8 scans could be used: .* and 3 more, named above"):
        list(ReadableCases(items(*(f"bad{n}" for n in range(8))), refuse_bad))


def test_all_good_raises_nothing():
    dataset = ReadableCases(items("a"), refuse_bad)
    assert list(dataset) == items("a")
    dataset.raise_failures()


def test_faults_of_ours_are_not_hidden():
    def fault(item):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(ReadableCases(items("a"), fault))


def test_a_label_on_another_grid_is_a_bad_case(tmp_path):
    for name, size in (("scan", 5), ("mask", 4)):
        write_nifti(tmp_path / f"{name}.nii.gz", np.random.default_rng(0).random((size, 5, 5)), np.eye(4))
    item = {"image": str(tmp_path / "scan.nii.gz"), "label": str(tmp_path / "mask.nii.gz")}
    with pytest.raises(BreastkitError, match="shape"):
        list(ReadableCases([item], refuse_bad))
    with pytest.raises(BreastkitError, match="does not exist"):
        list(ReadableCases([item | {"label": str(tmp_path / "none.nii.gz")}], refuse_bad))
