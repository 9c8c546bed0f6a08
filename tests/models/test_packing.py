"""A packed bundle does on another machine what it does here."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import download, load

from breastkit.bundle import Bundle, find_bundles
from breastkit.cli import main
from breastkit.models.packing import pack_bundle
from breastkit.networks import from_file
from breastkit.promotion import promote
from breastkit.weights import check_hash, load_weights, read_model_json, save_weights

NAME = "breast_us_lesion_segmentation"
SHIPPED = Path(__file__).parents[2] / "bundles" / NAME
EXPORTS = {f"models/{name}" for name in ("model.ts", "model.onnx", "model.xml", "model.bin", "parity.json")}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with the smallest network, another one than what ships."""
    folder = tmp_path_factory.mktemp("run")
    network = from_file(SHIPPED / "configs/networks.json", "light")
    save_weights(folder, network, architecture="light", image_size=64, threshold=0.5)
    return folder


@pytest.fixture(scope="module")
def packed(run, tmp_path_factory):
    """The bundle with that run promoted, packed once for all."""
    folder = tmp_path_factory.mktemp("packed")
    promote(Bundle(NAME, models=folder / "models"), run, figures={}, by="anna")
    return pack_bundle(NAME, str(folder), models=str(folder / "models"))


@pytest.fixture(scope="module")
def elsewhere(packed, tmp_path_factory):
    """The folder of bundles of another machine, into which MONAI fetches the zip."""
    folder = tmp_path_factory.mktemp("elsewhere")
    download(NAME, bundle_dir=str(folder), url=packed.as_uri(), progress=False)
    return folder


def network_of(weights):
    network = from_file(SHIPPED / "configs/networks.json", read_model_json(weights)["architecture"]).eval()
    load_weights(weights, network)
    return network


def files_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_it_is_laid_out_as_in_the_model_zoo(packed, elsewhere):
    version = json.loads((SHIPPED / "configs/metadata.json").read_text())["version"]
    assert packed.name == f"{NAME}_v{version}.zip"
    shipped = {name for name in files_in(SHIPPED) if not name.startswith("models/fold")}
    assert files_in(elsewhere / NAME) == shipped | EXPORTS
    assert check_hash(elsewhere / NAME / "models")["sha256"] in (elsewhere / NAME / "docs/README.md").read_text()


def test_promoted_weights_go_without_their_history_and_the_folds_of_others(run, elsewhere):
    models = elsewhere / NAME / "models"
    assert read_model_json(models) == read_model_json(run)
    assert {path.name for path in models.iterdir() if path.is_dir()} == {"clicks"}


def test_monai_loads_it(run, elsewhere, monkeypatch):
    monkeypatch.setenv("BREASTKIT_BUNDLES", str(elsewhere))
    image = torch.rand(1, 1, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network_of(run / "model.pt")(image)
        network = load(NAME, bundle_dir=str(elsewhere), device="cpu").eval()
        torch.testing.assert_close(network(image), expected, rtol=0, atol=0)
        script, metadata, _ = load(NAME, bundle_dir=str(elsewhere), load_ts_module=True, device="cpu")
        torch.testing.assert_close(script(image), expected)
    assert metadata["name"] == Bundle(SHIPPED).metadata["name"]


def test_parity_is_that_of_the_files(run, elsewhere):
    openvino = pytest.importorskip("openvino")
    models = elsewhere / NAME / "models"
    parity = json.loads((models / "parity.json").read_text())
    image = torch.randn(parity["shape"], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network_of(run / "model.pt")(image).numpy()
    answer = openvino.Core().compile_model(models / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(
        [image.numpy()]
    )[0]
    assert np.abs(answer - expected).max() == pytest.approx(parity["largest_difference"]["model.xml"], abs=1e-5)
    assert set(parity["largest_difference"]) == {"model.ts", "model.onnx", "model.xml"}
    assert max(parity["largest_difference"].values()) < 1e-3 < parity["largest_output"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [bundle.name for bundle in find_bundles(SHIPPED.parent)])
def test_every_bundle_is_packed_as_it_ships(name, tmp_path):
    packed = pack_bundle(name, str(tmp_path / "out"), models=str(tmp_path / "no_versions"))
    download(name, bundle_dir=str(tmp_path), url=packed.as_uri(), progress=False)
    assert files_in(tmp_path / name) == files_in(SHIPPED.with_name(name)) | EXPORTS
    assert check_hash(tmp_path / name / "models") == read_model_json(SHIPPED.with_name(name) / "models")


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
