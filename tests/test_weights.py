import pytest
import torch
from ignite.engine import Engine
from torch import nn

from breastkit.errors import BreastkitError
from breastkit.training import WeightsLoader, add_facts, load_weights, read_model_json, save_weights


def network(channels=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, channels, 3), nn.BatchNorm2d(channels))


@pytest.fixture
def folder(tmp_path):
    save_weights(tmp_path, network(), architecture="thin", image_size=64, threshold=0.4, figures={"dice": 0.9})
    return tmp_path


def test_round_trip_is_plain_and_described(folder):
    state = torch.load(folder / "model.pt", weights_only=True)
    other = network(seed=1)
    load_weights(folder, other)
    assert all(torch.equal(tensor, state[name]) for name, tensor in other.state_dict().items())
    facts = read_model_json(folder / "model.pt")
    assert facts["architecture"] == "thin"
    assert facts["threshold"] == 0.4
    assert len(facts["sha256"]) == 64


def test_equal_weights_give_equal_files(tmp_path):
    paths = [save_weights(tmp_path / name, network()) for name in ("one", "other")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_memory_order_of_training_is_not_kept(tmp_path):
    save_weights(tmp_path, nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last))
    assert all(tensor.is_contiguous() for tensor in load_weights(tmp_path).values())


def test_facts_are_added_and_dicts_merged(folder):
    digest = read_model_json(folder)["sha256"]
    add_facts(folder, threshold=0.6, figures={"val_loss": 0.1})
    facts = read_model_json(folder)
    assert facts["threshold"] == 0.6
    assert facts["figures"] == {"dice": 0.9, "val_loss": 0.1}
    assert facts["sha256"] == digest


def test_exchanged_file_is_noticed(folder):
    torch.save(network(seed=5).state_dict(), folder / "model.pt")
    with pytest.raises(BreastkitError, match=r"model\.pt is not the file model\.json beside it describes"):
        load_weights(folder)


def test_other_network_names_the_architecture(folder):
    with pytest.raises(
        BreastkitError, match=r"does not fit this network \(6 of 7 tensors differ\).*--architecture thin"
    ):
        load_weights(folder, network(channels=5))


def test_missing_names_the_remedy(tmp_path):
    with pytest.raises(BreastkitError, match=r"model\.pt does not exist; train first, or name the weights"):
        load_weights(tmp_path / "model.pt")
    with pytest.raises(BreastkitError, match=r"model\.pt does not exist; train first, or name the weights"):
        read_model_json(tmp_path / "model.pt")
    (tmp_path / "model.pt").write_bytes(b"weights")
    with pytest.raises(BreastkitError, match=r"model\.json does not exist"):
        read_model_json(tmp_path / "model.pt")


@pytest.mark.parametrize("content", [b"", b"no weights at all", None])
def test_damaged_file_is_one_sentence(folder, content):
    path = folder / "model.pt"
    path.write_bytes(path.read_bytes()[:1000] if content is None else content)
    (folder / "model.json").unlink()
    with pytest.raises(BreastkitError, match="holds no plain weights or is damaged"):
        load_weights(path)


def test_pickled_objects_are_refused(tmp_path):
    torch.save(network(), tmp_path / "model.pt")
    with pytest.raises(BreastkitError, match="holds no plain weights"):
        load_weights(tmp_path)


def test_state_of_something_else_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "model.pt")
    with pytest.raises(BreastkitError, match="does not fit this network"):
        load_weights(tmp_path, network())


def test_broken_description_is_named(folder):
    (folder / "model.json").write_text("{")
    with pytest.raises(BreastkitError, match=r"model\.json is no JSON"):
        load_weights(folder)


def test_loader_loads_when_an_engine_starts(folder):
    other = network(seed=2)
    engine = Engine(lambda _engine, _batch: None)
    WeightsLoader(folder, other).attach(engine)
    engine.run([0])
    assert torch.equal(other[0].weight, network()[0].weight)


def test_nothing_half_written(tmp_path):
    class Unsavable(nn.Module):
        def state_dict(self):
            return {"weight": torch.zeros(1), "hook": lambda: None}

    with pytest.raises(AttributeError):
        save_weights(tmp_path, Unsavable())
    assert list(tmp_path.iterdir()) == []
