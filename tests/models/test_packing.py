"""A packed bundle does on another machine what it does here."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import download, load

from breastkit.bundle import Bundle
from breastkit.cli import main
from breastkit.models.packing import pack_bundle
from breastkit.networks import from_file
from breastkit.promotion import promote
from breastkit.weights import check_hash, load_weights, read_model_json, save_weights

NAME = "breast_us_lesion_segmentation"
SHIPPED = Path(__file__).parents[2] / "bundles" / NAME


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    return pack_bundle(NAME, str(folder), models=str(folder / "no_versions"))


@pytest.fixture(scope="module")
def elsewhere(packed, tmp_path_factory):
    """The folder of bundles of another machine, into which MONAI fetches the zip."""
    folder = tmp_path_factory.mktemp("elsewhere")
    download(NAME, bundle_dir=str(folder), url=packed.as_uri(), progress=False)
    return folder


def network_of(bundle, weights):
    network = from_file(bundle / "configs/networks.json", read_model_json(weights)["architecture"]).eval()
    load_weights(weights, network)
    return network


def test_it_is_laid_out_as_in_the_model_zoo(packed, elsewhere):
    version = json.loads((SHIPPED / "configs/metadata.json").read_text())["version"]
    assert packed.name == f"{NAME}_v{version}.zip"
    files = {str(path.relative_to(elsewhere / NAME)) for path in (elsewhere / NAME).rglob("*") if path.is_file()}
    shipped = {str(path.relative_to(SHIPPED)) for path in SHIPPED.rglob("*") if path.is_file()}
    exports = {f"models/{name}" for name in ("model.ts", "model.onnx", "model.xml", "model.bin", "parity.json")}
    assert files == shipped | exports
    assert check_hash(elsewhere / NAME / "models")["sha256"] in (elsewhere / NAME / "docs/README.md").read_text()


def test_monai_loads_it(elsewhere, monkeypatch):
    monkeypatch.setenv("BREASTKIT_BUNDLES", str(elsewhere))
    image = torch.rand(1, 1, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network_of(SHIPPED, SHIPPED / "models/model.pt")(image)
        network = load(NAME, bundle_dir=str(elsewhere), device="cpu").eval()
        torch.testing.assert_close(network(image), expected, rtol=0, atol=0)
        script, metadata, _ = load(NAME, bundle_dir=str(elsewhere), load_ts_module=True, device="cpu")
        torch.testing.assert_close(script(image), expected)
    assert metadata["name"] == Bundle(SHIPPED).metadata["name"]


def test_parity_is_that_of_the_files(elsewhere):
    openvino = pytest.importorskip("openvino")
    models = elsewhere / NAME / "models"
    parity = json.loads((models / "parity.json").read_text())
    image = torch.randn(parity["shape"], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network_of(SHIPPED, SHIPPED / "models/model.pt")(image).numpy()
    answer = openvino.Core().compile_model(models / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(
        [image.numpy()]
    )[0]
    assert np.abs(answer - expected).max() == pytest.approx(parity["largest_difference"]["model.xml"], abs=1e-5)
    assert set(parity["largest_difference"]) == {"model.ts", "model.onnx", "model.xml"}
    assert max(parity["largest_difference"].values()) < 1e-3 < parity["largest_output"]


def test_promoted_weights_go_without_their_history_and_the_folds_of_others(tmp_path, monkeypatch):
    bundles, models = tmp_path / "bundles", tmp_path / "models"
    shutil.copytree(SHIPPED, bundles / NAME)
    monkeypatch.setenv("BREASTKIT_BUNDLES", str(bundles))
    network = from_file(SHIPPED / "configs/networks.json", "light")
    save_weights(tmp_path / "run", network, architecture="light", image_size=64, threshold=0.5)
    promote(Bundle(NAME, models=models), tmp_path / "run", figures={}, by="anna")
    with zipfile.ZipFile(pack_bundle(NAME, str(tmp_path / "out"), models=str(models))) as archive:
        archive.extractall(tmp_path / "elsewhere")
    found = tmp_path / "elsewhere" / NAME
    assert read_model_json(found / "models") == read_model_json(tmp_path / "run")
    assert {path.name for path in (found / "models").iterdir() if path.is_dir()} == {"clicks"}
    assert not [path for path in found.rglob("*") if path.name in ("promotion.json", "registration.json")]
    monkeypatch.setenv("BREASTKIT_BUNDLES", str(found.parent))
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            load(NAME, bundle_dir=str(found.parent), device="cpu").eval()(image), network.eval()(image)
        )


@pytest.mark.parametrize("weights", ["model.pt", "clicks/model.pt"])
def test_weights_whose_hash_differs_are_refused(weights, tmp_path, monkeypatch, capsys):
    shutil.copytree(SHIPPED, tmp_path / NAME)
    monkeypatch.setenv("BREASTKIT_BUNDLES", str(tmp_path))
    with (tmp_path / NAME / "models" / weights).open("ab") as file:
        file.write(b"more")
    out = tmp_path / "out"
    assert main(["models", "pack", NAME, "--out", str(out), "--models", str(tmp_path / "none")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{weights} is not the file model.json beside it describes (sha256 differs)" in said
    assert not out.exists()
