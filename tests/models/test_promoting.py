"""From a tracked training to the weights that are served and back, with a registry and without."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
import torch
from tests.bundles.tiny import tiny_pictures

from breastkit.bundle import Bundle
from breastkit.cli import main
from breastkit.errors import BreastkitError
from breastkit.model_registry import CANDIDATE, CHAMPION, ModelRegistry
from breastkit.models.listing import list_models, show_model, verify_models
from breastkit.models.promoting import judge, promote_version
from breastkit.models.registering import register_run
from breastkit.promotion import promote, promotion_of, rollback
from breastkit.weights import load_weights, read_model_json, save_weights

ROOT = Path(__file__).parents[2]
NAME = "breast_us_lesion_segmentation"
MODEL = f"{NAME}-light"


class Place:
    """A copy of a bundle that ships ruined weights, a run that learnt, and where both are kept."""

    def __init__(self, folder):
        self.folder, self.store = folder, f"sqlite:///{folder / 'mlruns.db'}"
        shutil.copytree(ROOT / "bundles" / NAME / "configs", folder / "bundles" / NAME / "configs")
        self.run, self.data = folder / "run", folder / "data"
        tiny_pictures(self.data, others=8)
        bundle = Bundle(folder / "bundles" / NAME)
        tracking = {"tracking": str(ROOT / "mlflow/tracking.json"), "tracking_uri": self.store, "run_name": "first"}
        sizes = {"architecture": "light", "image_size": 32, "batch_size": 4, "learning_rate": 0.01, "max_epochs": 6}
        bundle.run("train.json", dataset_dir=str(self.data), output_dir=str(self.run), **tracking, **sizes)
        shutil.copytree(self.weights(folder / "ruined", 0.0), bundle.folder / "models")

    def weights(self, folder, share):
        """The run's weights with a share of what they are, and the rest nothing."""
        state = {name: (tensor * share).to(tensor.dtype) for name, tensor in load_weights(self.run).items()}
        facts = {key: value for key, value in read_model_json(self.run).items() if key != "sha256"}
        save_weights(folder, state, **facts)
        return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
            patch.delenv(name, raising=False)
        return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    """The same with versions of its own; evaluations, which take seconds, are kept."""
    monkeypatch.setenv("BREASTKIT_BUNDLES", str(trained.folder / "bundles"))
    monkeypatch.setenv("BREASTKIT_MODELS", str(tmp_path / "models"))
    kept = trained.folder / "evaluations"
    if kept.is_dir():
        shutil.copytree(kept, tmp_path / "models" / NAME / "evaluations")
    yield trained
    made = tmp_path / "models" / NAME / "evaluations"
    if made.is_dir():
        shutil.copytree(made, kept, dirs_exist_ok=True)


@pytest.fixture
def registry(place, tmp_path, monkeypatch):
    """A copy of the store that the run is in."""
    shutil.copy(place.folder / "mlruns.db", tmp_path / "mlruns.db")
    monkeypatch.setenv("BREASTKIT_REGISTRY", f"sqlite:///{tmp_path / 'mlruns.db'}")
    return ModelRegistry(f"sqlite:///{tmp_path / 'mlruns.db'}")


def aliases(registry):
    return {one.number: set(one.aliases) for one in registry.versions(NAME)}


def test_a_run_is_registered_promoted_shown_and_rolled_back(place, registry, tmp_path):
    assert "first is version 1" in register_run("first")
    # Once more is the same version.
    assert "first is version 1" in register_run("first")
    assert aliases(registry) == {0: set(), 1: {CANDIDATE}}
    assert Bundle(NAME).version_in_use == 0
    assert "runs with version 1: dice" in promote_version(NAME, 1)
    assert Bundle(NAME).weights_in_use.read_bytes() == (place.run / "model.pt").read_bytes()
    assert aliases(registry) == {0: set(), 1: {CHAMPION}}
    client = mlflow.MlflowClient(registry.uri)
    (run,) = client.search_runs(client.get_experiment_by_name(NAME).experiment_id)
    assert client.get_model_version_by_alias(MODEL, CHAMPION).run_id == run.info.run_id
    shown = show_model(NAME)
    for said in ("version 1, in use", "first", run.info.run_id, str(place.data), read_model_json(place.run)["sha256"]):
        assert said in shown
    assert run.data.tags["mlflow.source.git.commit"] in shown
    assert promotion_of(Bundle(NAME), 1)["by"] in shown
    assert show_model(str(Bundle(NAME).weights_in_use)) == shown
    assert f"* {NAME}  version 1  light" in list_models()
    assert "are what they were, and against" in verify_models()
    assert "the shipped weights again" in rollback(NAME)
    assert aliases(registry) == {0: {CHAMPION}, 1: set()}
    verify_models()


def test_what_is_worse_is_not_used(place, registry, capsys, tmp_path):
    register_run("first")
    promote_version(NAME, 1)
    assert "is version 2" in register_run(str(place.weights(tmp_path / "bad", 0.5)), bundle=NAME)
    judged = ["models", "promote", NAME, "2", "--dataset_dir", str(place.data)]
    assert main(judged) == 1
    assert f"{NAME} still runs with version 1: version 2 is worse, dice" in capsys.readouterr().err
    assert Bundle(NAME).version_in_use == 1
    assert aliases(registry)[1] == {CHAMPION}


def test_without_a_registry_the_files_say_it(place):
    assert "is version 1" in register_run(str(place.run), bundle=NAME)
    with pytest.raises(BreastkitError, match="does not say which cases to judge it by; give --dataset_dir"):
        promote_version(NAME, 1)
    promote_version(NAME, 1, dataset_dir=str(place.data))
    shown = show_model(NAME)
    assert json.loads((place.run / "run.json").read_text())["code"] in shown
    assert "not registered" in shown
    assert verify_models().endswith("files of weights are what they were.")


def test_a_promotion_of_the_server_appears_in_the_registry(place, registry):
    number = promote(Bundle(NAME), place.run, figures={"measure": "Dice"})
    assert aliases(registry) == {0: set(), number: {CHAMPION}}
    (version,) = [one for one in registry.versions(NAME) if one.number == number]
    assert version.tags["promoted_by"] == "the annotation server"


def test_the_server_goes_on_without_the_registry_and_tells_it_later(place, registry, monkeypatch):
    monkeypatch.setenv("BREASTKIT_REGISTRY", "http://127.0.0.1:9")
    assert promote(Bundle(NAME), place.run, figures={}) == 1
    with pytest.raises(BreastkitError, match="does not answer"):
        rollback(NAME)
    assert Bundle(NAME).version_in_use == 1
    monkeypatch.setenv("BREASTKIT_REGISTRY", registry.uri)
    with pytest.raises(BreastkitError, match=f"Version 1 of {NAME} is not in the registry"):
        verify_models()
    rollback(NAME)
    assert aliases(registry) == {0: {CHAMPION}, 1: set()}


def test_another_machine_fetches_a_version_from_the_registry(place, registry, tmp_path, monkeypatch):
    register_run("first")
    monkeypatch.setenv("BREASTKIT_MODELS", str(tmp_path / "elsewhere"))
    assert "in the registry alone" in list_models()
    promote_version(NAME, 1)
    assert Bundle(NAME).weights_in_use.read_bytes() == (place.run / "model.pt").read_bytes()


def test_other_weights_than_were_registered_are_not_used(place, registry, tmp_path, monkeypatch):
    register_run("first")
    (version,) = [one for one in registry.versions(NAME) if one.number == 1]
    damaged = Bundle(NAME).weights_of_version(1)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    for asked in (lambda: promote_version(NAME, 1), verify_models):
        with pytest.raises(BreastkitError, match="sha256 differs"):
            asked()
    mlflow.MlflowClient(registry.uri).set_model_version_tag(MODEL, version.version, "sha256", "0" * 64)
    monkeypatch.setenv("BREASTKIT_MODELS", str(tmp_path / "elsewhere"))
    with pytest.raises(BreastkitError, match="are not those that were registered"):
        promote_version(NAME, 1)
    assert Bundle(NAME).version_in_use == 0


def test_of_two_who_promote_at_once_the_slower_is_told(place, registry):
    bundle = Bundle(NAME)
    promote(bundle, place.run, figures={}, instead_of=0)
    with pytest.raises(BreastkitError, match="runs with version 1 since this was compared with the shipped weights"):
        promote(bundle, place.run, figures={}, instead_of=0)
    assert bundle.version_in_use == 1


def test_evaluations_of_other_cases_decide_nothing(tmp_path):
    for name, cases in (("current", "ab"), ("candidate", "ac")):
        folder = tmp_path / name / "evaluation"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text("case,dice\n" + "".join(f"{case},0.5\n" for case in cases))
    with pytest.raises(BreastkitError, match="were evaluated on other cases; evaluate both on one list"):
        judge(Bundle(NAME), tmp_path / "current", tmp_path / "candidate")


def test_two_processes_that_promote_get_numbers_of_their_own(place, tmp_path):
    words = (
        "import sys; from breastkit.bundle import Bundle; from breastkit.promotion import promote; "
        f"promote(Bundle('{NAME}'), sys.argv[1], figures={{}})"
    )
    running = [subprocess.Popen([sys.executable, "-c", words, str(place.run)]) for _ in range(2)]
    assert [process.wait(120) for process in running] == [0, 0]
    bundle = Bundle(NAME)
    assert (bundle.versions, bundle.version_in_use) == ([1, 2], 2)
    assert [promotion_of(bundle, number)["before"] for number in (1, 2)] == [0, 1]


def test_a_version_promoted_again_keeps_its_place(place):
    bundle = Bundle(NAME)
    for _ in range(2):
        promote(bundle, place.run, figures={})
    promote_version(NAME, 1, dataset_dir=str(place.data))
    assert promotion_of(bundle, 1)["before"] == 0
    rollback(NAME)
    assert bundle.version_in_use == 0


def test_runs_without_weights_are_one_sentence(place, registry, tmp_path, monkeypatch):
    client = mlflow.MlflowClient(registry.uri)
    client.create_run(client.get_experiment_by_name(NAME).experiment_id, run_name="empty")
    for run, said in (("empty", "has no weights"), ("nobody", "has no run 'nobody'")):
        with pytest.raises(BreastkitError, match=said):
            register_run(run)
    with pytest.raises(BreastkitError, match=f"{NAME} has no version 7"):
        promote_version(NAME, 7)
    save_weights(tmp_path / "begun", {"a": torch.zeros(1)}, architecture="light")
    (tmp_path / "begun" / "run.json").write_text('{"state": "running"}')
    with pytest.raises(BreastkitError, match="not finished"):
        register_run(str(tmp_path / "begun"), bundle=NAME)
    assert not Bundle(NAME).promoted.is_dir() or not list(Bundle(NAME).promoted.glob("[0-9]*"))
    damaged = tmp_path / "damaged.db"
    half = Path(registry.uri.removeprefix("sqlite:///")).read_bytes()[:300_000]
    monkeypatch.setenv("BREASTKIT_REGISTRY", f"sqlite:///{damaged}")
    for content in (b"nonsense" * 1000, half):
        damaged.write_bytes(content)
        with pytest.raises(BreastkitError, match=r"damaged.db is damaged .*restore it from a backup"):
            list_models()
