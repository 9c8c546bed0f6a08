"""MONAI Label's own way to run a bundle, without the app of this project, takes a packed one."""

import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import skimage.io
from monailabel.tasks.infer.bundle import BundleInferTask

from breastkit.bundle import Bundle
from breastkit.inference.ultrasound import Segmenter
from breastkit.models.packing import pack_bundle
from breastkit.phantoms.us.pictures import write_us_phantoms

NAME = "breast_us_lesion_segmentation"
SHIPPED = Path(__file__).parents[3] / "bundles" / NAME


@pytest.mark.slow
def test_stock_inference_outlines_what_the_shipped_bundle_does(tmp_path):
    none = str(tmp_path / "no_versions")
    with zipfile.ZipFile(pack_bundle(NAME, str(tmp_path / "out"), models=none)) as archive:
        archive.extractall(tmp_path / "elsewhere")
    write_us_phantoms(tmp_path / "pictures", cases=1)
    picture = next(path for path in sorted((tmp_path / "pictures").rglob("*.png")) if "_mask" not in path.name)
    task = BundleInferTask(str(tmp_path / "elsewhere" / NAME), {})
    assert task.is_valid()
    request = {"image": str(picture), "device": "cpu", "logging": "ERROR", **task.displayable_configs}
    path, _ = task({**request, "result_extension": ".nii.gz"})
    # Rows first, as the bundle reads pictures.
    found = nibabel.load(path).get_fdata().squeeze() > 0
    Path(path).unlink()
    expected, _ = Segmenter(bundle=Bundle(SHIPPED, models=none))(skimage.io.imread(picture, as_gray=True))
    assert expected.any()
    assert np.mean(found != expected) < 0.001
