"""What every bundle promises; inherit `BundleContract`, name the bundle and give it tiny data.

Everything runs in one process through MONAI's own functions; the true command line is used once.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser, create_workflow, load, run, verify_metadata
from monai.bundle import verify_net_in_out as verify_network
from tests.bundles.export_contract import ROOT, ExportContract

from breastkit.bundle import Bundle
from breastkit.errors import sentence_of
from breastkit.promotion import promote
from breastkit.training import load_weights, read_model_json

SCHEMA = Path(__file__).parent / "metadata_schema.json"
# What the annotation server reads from or overrides in inference.json.
SERVED_IDS = ("bundle_root", "device", "network_def", "preprocessing", "inferer", "postprocessing", "evaluator")
TRAIN_IDS = (
    "dataset_dir",
    "architecture",
    "image_size",
    "max_epochs",
    "batch_size",
    "learning_rate",
    "seed",
    "num_workers",
    "fold",
    "output_dir",
    "resume",
)
CARD_SECTIONS = ("Overview", "Data", "Training", "Performance", "Limitations", "Commands", "License")


class BrokenOffError(RuntimeError):
    """What `BreakAt` breaks a run off with."""


class BreakAt:
    """Handler that breaks a run off at an iteration."""

    def __init__(self, iteration: int):
        self.iteration = iteration

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=self.iteration), self)

    def __call__(self) -> None:
        raise BrokenOffError


class BundleContract(ExportContract):
    """The contract. A subclass gives `bundle`, `tiny_data` and what makes its training small.

    All that the model zoo's CI asks of a bundle is in it: its folder, version and changelog, metadata by the schema,
    the required properties, the network's input and output, and TorchScript.
    """

    options: ClassVar[dict[str, Any]] = {"image_size": 32, "batch_size": 8}
    break_at = 4

    def tiny_data(self, folder: Path) -> None:
        """Writes a prepared data set that trains in seconds."""
        raise NotImplementedError

    def inference_input(self, data: Path) -> Path:
        """Returns something inference takes."""
        raise NotImplementedError

    def check_inference(self, out: Path) -> None:
        """Looks at what inference wrote."""
        raise NotImplementedError

    def train(self, data: Path, out: Path, *, epochs: int = 2, extra: dict | None = None, **options: Any) -> Path:
        configs = [self.config("train")]
        if extra:
            configs.append(str(out.with_name(f"{out.name}-extra.json")))
            Path(configs[-1]).write_text(json.dumps(extra))
        options = {"dataset_dir": str(data), "max_epochs": epochs, **self.options, **options}
        run(config_file=configs, bundle_root=str(self.root), output_dir=str(out), **options)
        return out

    @pytest.fixture(scope="class")
    def data(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("data")
        self.tiny_data(folder)
        return folder

    @pytest.fixture(scope="class")
    def trained(self, data, tmp_path_factory):
        return self.train(data, tmp_path_factory.mktemp("runs") / "unbroken")

    def evaluate_options(self, data: Path, trained: Path) -> dict[str, Any]:
        return {"dataset_dir": str(data), "output_dir": str(trained), **self.options}

    def inference_options(self, data: Path, trained: Path, out: Path) -> dict[str, Any]:
        weights = str(trained / "model.pt")
        return {"dataset_dir": str(self.inference_input(data)), "output_dir": str(out), "ckpt_path": weights}

    # --- what it is ----

    def test_metadata(self, tmp_path):
        schema = shutil.copy(SCHEMA, tmp_path / "meta_schema_20240725.json")
        verify_metadata(meta_file=self.config("metadata"), filepath=str(schema))
        metadata = json.loads(Path(self.config("metadata")).read_text())
        assert metadata["version"] in metadata["changelog"]
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert metadata["required_packages_version"]["breastkit"] == project["version"]
        pinned = dict(
            line.split("==")
            for line in (ROOT / "constraints.txt").read_text().splitlines()
            if re.match(r"[\w.-]+==", line)
        )
        named = {
            name: version for name, version in metadata["required_packages_version"].items() if name != "breastkit"
        }
        named |= {"monai": metadata["monai_version"], "torch": metadata["pytorch_version"]}
        named |= {"numpy": metadata["numpy_version"]}
        assert named == {name: pinned[name].split("+")[0] for name in named}

    def test_it_declares_what_it_is_for(self):
        bundle = Bundle(self.root)
        labels = bundle.purpose.labels
        assert len({label.number for label in labels.values()}) == len(labels)
        for name, label in labels.items():
            assert label.category and label.type and label.colour, name
        assert all(bundle.used(part).purpose.organ == bundle.purpose.organ for part in bundle.purpose.uses)

    def test_inference_runs_with_the_weights_in_use(self, tmp_path, monkeypatch):
        if not self.ships_weights:
            pytest.skip("no weights ship yet")
        monkeypatch.setenv("BREASTKIT_MODELS", str(tmp_path))
        used = []
        for _ in range(2):
            parser = ConfigParser()
            parser.read_config(self.config("inference"))
            parser["bundle_root"] = str(self.root)
            used.append(Path(parser.get_parsed_content("ckpt_path")))
            promote(Bundle(self.root), self.root / "models", figures={})
        assert used == [self.root / "models/model.pt", tmp_path / self.bundle / "000001/model.pt"]

    def test_files(self):
        configs = ("metadata", "train", "evaluate", "inference", "multi_gpu_train", "networks")
        files = ["LICENSE", "docs/README.md", "docs/data_license.txt", "configs/logging.conf"]
        for name in (*files, *(f"configs/{config}.json" for config in configs)):
            assert (self.root / name).stat().st_size > 0, name
        assert not list(self.root.rglob("*.py")), "a bundle is JSON; code lives in breastkit"

    def test_model_card(self):
        card = (self.root / "docs/README.md").read_text()
        headings = re.findall(r"^#+ +(.+?) *$", card, re.MULTILINE)
        assert [section for section in CARD_SECTIONS if section not in headings] == []
        assert "not for diagnosis" in card.lower()

    def test_shipped_weights(self):
        for path in self.root.glob("models/**/model.pt"):
            facts = read_model_json(path)
            load_weights(path)
            assert path.stat().st_size < 12e6
            assert {"sha256", "architecture", "image_size", "threshold", "case_list_hash", "run", "figures"} <= set(
                facts
            )
        assert (self.root / "models/model.pt").is_file() == self.ships_weights
        if not self.ships_weights:
            pytest.skip("no weights ship yet")
        facts = read_model_json(self.root / "models/model.pt")
        defaults = json.loads(Path(self.config("train")).read_text())
        assert [facts[name] for name in ("architecture", "image_size")] == [
            defaults[name] for name in ("architecture", "image_size")
        ]

    # --- what MONAI and MONAI Label ask of it ----

    @pytest.mark.parametrize("name", ["train", "inference"])
    def test_network_in_and_out(self, name):
        files = {"meta_file": self.config("metadata"), "config_file": self.config(name)}
        verify_network(net_id="network_def", bundle_root=str(self.root), **files)

    def test_network_has_the_shape_of_the_metadata(self, shipped):
        expected = shipped.metadata["network_data_format"]["outputs"]["pred"]
        assert shipped.outputs[0].shape == (1, expected["num_channels"], *expected["spatial_shape"])

    @pytest.mark.parametrize("name", ["train", "evaluate", "inference"])
    def test_properties(self, name, data, trained, tmp_path):
        options = {
            "train": {"dataset_dir": str(data), "output_dir": str(tmp_path), **self.options},
            "evaluate": self.evaluate_options(data, trained),
            "inference": self.inference_options(data, trained, tmp_path),
        }[name]
        configs = [self.config(name)] if name != "evaluate" else [self.config("inference"), self.config("evaluate")]
        workflow = create_workflow(
            config_file=configs,
            workflow_type="train" if name == "train" else "infer",
            bundle_root=str(self.root),
            **options,
        )
        assert workflow.check_properties() == []

    def test_ids_of_the_design(self):
        parser = ConfigParser()
        parser.read_config(self.config("train"))
        assert [name for name in TRAIN_IDS if name not in parser] == []
        parser.read_config(self.config("inference"))
        assert [name for name in SERVED_IDS if name not in parser] == []

    @pytest.mark.parametrize("name", ["train", "evaluate", "inference"])
    def test_switches_can_be_words_of_a_command_line(self, name):
        config = json.loads(Path(self.config(name)).read_text(encoding="utf-8"))
        text = json.dumps({key: value for key, value in config.items() if key != "displayable_configs"})
        for switch in (key for key, value in config.items() if isinstance(value, bool)):
            # The run folder reads its own switch.
            read = "breastkit.bundle.is_yes(@" if switch != "resume" else '"resume": "@'
            assert text.count(f"@{switch}") == text.count(f"{read}{switch}") > 0, switch

    def test_loads_from_another_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        if not self.ships_weights:
            pytest.skip("no weights ship yet, and MONAI loads a bundle's network with its weights")
        network = load(name=self.bundle, bundle_dir=str(ROOT / "bundles"), source="github")
        shipped = load_weights(self.root / "models/model.pt")
        assert all(torch.equal(tensor, shipped[name]) for name, tensor in network.state_dict().items())

    def test_three_bundles_in_one_process(self, data, trained, tmp_path):
        """This bundle opened between two others, in any order, each with its own network."""
        others = [path.parents[1].name for path in sorted(ROOT.glob("bundles/*/configs/train.json"))]
        others = [name for name in others if name != self.bundle][:2]
        networks = {}
        for name in (*others, self.bundle, *others):
            config = str(ROOT / "bundles" / name / "configs/train.json")
            folders = {"bundle_root": str(ROOT / "bundles" / name), "output_dir": str(tmp_path / name)}
            workflow = create_workflow(config_file=config, workflow_type="train", **folders)
            shapes = {key: tuple(tensor.shape) for key, tensor in workflow.network_def.state_dict().items()}
            assert networks.setdefault(name, shapes) == shapes
        self.infer(data, trained, tmp_path / "out")

    # --- what it does ----

    def test_training_writes_its_folder(self, trained):
        names = {path.name for path in trained.iterdir()}
        assert {"model.pt", "model.json", "checkpoint.pt", "metrics.csv", "curves.png", "run.json"} <= names
        rows = list(csv.DictReader((trained / "metrics.csv").open()))
        assert [row["epoch"] for row in rows] == ["1", "2"]
        assert all(np.isfinite(float(value)) for row in rows for value in row.values())
        facts = read_model_json(trained)
        assert 0 < facts["threshold"] < 1
        assert not list(trained.glob(".writing*"))
        assert json.loads((trained / "run.json").read_text())["state"] == "finished"

    def test_broken_off_it_goes_on_to_the_same_weights(self, data, trained, tmp_path):
        breaking = {"+train#handlers": [{"_target_": "tests.bundles.contract.BreakAt", "iteration": self.break_at}]}
        with pytest.raises(RuntimeError) as raised:
            self.train(data, tmp_path / "run", extra=breaking)
        assert isinstance(raised.value.__cause__, BrokenOffError)
        self.train(data, tmp_path / "run")
        again, unbroken = load_weights(tmp_path / "run"), load_weights(trained)
        assert all(torch.equal(tensor, unbroken[name]) for name, tensor in again.items())

    def test_another_seed_gives_other_weights(self, data, trained, tmp_path):
        other = load_weights(self.train(data, tmp_path / "run", seed=5))
        unbroken = load_weights(trained)
        assert not all(torch.equal(tensor, unbroken[name]) for name, tensor in other.items())

    def test_evaluation(self, data, trained):
        shutil.rmtree(trained / "evaluation", ignore_errors=True)
        configs = [self.config("train"), self.config("evaluate")]
        run(config_file=configs, bundle_root=str(self.root), **self.evaluate_options(data, trained))
        self.check_evaluation(trained / "evaluation")

    def check_evaluation(self, folder: Path) -> None:
        rows = list(csv.DictReader((folder / "metrics.csv").open()))
        assert rows
        assert {"case", "dice"} <= set(rows[0])

    def test_evaluation_of_weights_that_are_given(self, data, trained, tmp_path):
        """On inference.json, where the weights say what they are; the figures are those of the run itself."""
        self.test_evaluation(data, trained)
        options = self.evaluate_options(data, tmp_path) | {"ckpt_path": str(trained / "model.pt")}
        for name in ("architecture", "image_size"):
            options.pop(name, None)
        configs = [self.config("inference"), self.config("evaluate")]
        run(config_file=configs, bundle_root=str(self.root), **options)
        self.check_evaluation(tmp_path / "evaluation")
        for name in ("metrics.csv", "summary.json"):
            if (trained / "evaluation" / name).is_file():
                assert (tmp_path / "evaluation" / name).read_text() == (trained / "evaluation" / name).read_text()

    @pytest.mark.parametrize("name", ["evaluate", "multi_gpu_train"])
    def test_an_overlay_alone_is_one_sentence(self, name):
        with pytest.raises(ValueError, match="is not defined in the config content") as raised:
            run(config_file=self.config(name), bundle_root=str(self.root))
        assert f"{name}.json is run on " in sentence_of(raised.value)

    def infer(self, data: Path, trained: Path, out: Path) -> None:
        options = self.inference_options(data, trained, out)
        run(config_file=self.config("inference"), bundle_root=str(self.root), **options)

    def test_inference(self, data, trained, tmp_path):
        self.infer(data, trained, tmp_path / "out")
        self.check_inference(tmp_path / "out")

    # --- the true command line ----

    @pytest.mark.slow
    def test_command_line(self, data, trained, tmp_path):
        """From another folder; a finished run is one sentence, the last line, without traceback."""
        command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", self.config("train")]
        options = {"dataset_dir": data, "max_epochs": 1, "output_dir": tmp_path / "run", **self.options}
        command += ["--bundle_root", str(self.root)]
        command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        call = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 600}
        first = subprocess.run(command, **call)
        assert first.returncode == 0, first.stderr[-3000:]
        assert (tmp_path / "run/model.pt").is_file()
        second = subprocess.run(command, **call)
        assert second.returncode == 1
        assert "holds a finished run; start over with --resume false" in second.stderr.strip().splitlines()[-1]
        assert "Traceback" not in second.stderr
