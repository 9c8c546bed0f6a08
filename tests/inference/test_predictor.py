"""The predictor gives the network's own output, whatever computes it and however the images come."""

import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from breastkit.errors import BreastkitError
from breastkit.inference import Backend, Precision, Predictor, backends, predictor
from breastkit.networks import AnySize, SpatialDropoutUNet


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def not_the_users_cache(shared_cache, monkeypatch):
    monkeypatch.setenv("BREASTKIT_CACHE", str(shared_cache))


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BREASTKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(backends, "_in_memory", type(backends._in_memory)())
    return tmp_path / "cache"


@pytest.fixture
def network():
    torch.manual_seed(0)
    small = SpatialDropoutUNet(out_channels=2, encoder=(4, 8), bottleneck=8, decoder=(8, 4))
    network = AnySize(small, multiple=4)
    # Running statistics as after training, so that batch norm is not the identity.
    network.train()
    with torch.no_grad():
        for _ in range(4):
            network(torch.randn(8, 1, 20, 24))
    return network.eval()


@pytest.fixture
def images():
    return torch.randn(5, 1, 20, 24, generator=torch.Generator().manual_seed(1))


def expected(network, images):
    with torch.no_grad():
        return network(images)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_torch_gives_the_networks_output(network, images, batch_size):
    output = Predictor(batch_size, backend="torch")(images, network)
    torch.testing.assert_close(output, expected(network, images), rtol=1e-5, atol=1e-6)


def test_openvino_f32_agrees_within_a_thousandth_of_the_range(network, images):
    truth = expected(network, images)
    output = Predictor(backend="openvino", precision="f32")(images, network)
    assert (output - truth).abs().max() <= 1e-3 * (truth.max() - truth.min())


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_bf16_masks_agree_with_f32(network, images, backend):
    truth = expected(network, images) > 0
    output = Predictor(backend=backend, precision="bf16")(images, network)
    assert output.dtype == torch.float32
    dice = 2 * (truth & (output > 0)).sum() / (truth.sum() + (output > 0).sum())
    assert dice >= 0.99


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_volumes_are_their_slices_along_the_last_axis(network, backend):
    volumes = torch.randn(2, 1, 20, 24, 3, generator=torch.Generator().manual_seed(2))
    output = Predictor(backend=backend)(MetaTensor(volumes), network)
    assert output.shape == (2, 2, 20, 24, 3)
    for b in range(2):
        slices = expected(network, volumes[b].movedim(-1, 0))
        torch.testing.assert_close(output[b].movedim(-1, 0), slices, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
@pytest.mark.parametrize("empty", [[1, 3], [0], [0, 1, 2, 3, 4]])
def test_zero_slices_share_one_run_and_get_the_networks_output(network, images, backend, empty):
    images[empty] = 0
    output = Predictor(backend=backend)(images, network)
    torch.testing.assert_close(output, expected(network, images), rtol=1e-3, atol=1e-3)
    for index in empty[1:]:
        torch.testing.assert_close(output[index], output[empty[0]], rtol=0, atol=0)


def test_zero_slices_are_computed_once(network, images):
    images[[1, 2, 4]] = 0
    seen = []
    network.register_forward_pre_hook(lambda module, arguments: seen.append(len(arguments[0])))
    Predictor(2, backend="torch")(images, network)
    assert sum(seen) == 3


def test_converted_models_are_cached_by_weights(network, images, own_cache):
    predictor = Predictor(backend="openvino")
    first = predictor(images, network)
    models = lambda: sorted((own_cache / "openvino").iterdir())  # noqa: E731
    assert len(models()) == 1
    # A second process finds it: memory is empty, converting is not allowed.
    backends._in_memory.clear()
    convert, backends._convert = backends._convert, None
    try:
        torch.testing.assert_close(Predictor(backend="openvino")(images, network), first)
    finally:
        backends._convert = convert
    with torch.no_grad():
        network.network.output.bias += 1
    torch.testing.assert_close(predictor(images, network), first + 1, rtol=1e-3, atol=1e-3)
    assert len(models()) == 2


def test_a_damaged_cache_entry_is_made_anew(network, images, own_cache):
    first = Predictor(backend="openvino")(images, network)
    for path in (own_cache / "openvino").rglob("model.xml"):
        path.write_text("<net")
    backends._in_memory.clear()
    torch.testing.assert_close(Predictor(backend="openvino")(images, network), first)


def test_what_was_compiled_is_kept_and_made_anew_where_it_is_damaged(network, images, own_cache, monkeypatch):
    first = Predictor(backend="openvino")(images, network)
    (kept,) = (own_cache / "openvino").rglob("*.blob")
    whole = kept.read_bytes()
    for content, compiles in ((whole, 0), (whole[:100], 1), (b"", 1)):
        kept.write_bytes(content)
        backends._in_memory.clear()
        core, compiled = backends._core(), []

        class Counting:
            """The core, which counts what it compiles."""

            def __getattr__(self, name, core=core, compiled=compiled):
                if name == "compile_model":
                    compiled.append(name)
                return getattr(core, name)

        with monkeypatch.context() as patched:
            patched.setattr(backends, "_core", Counting)
            torch.testing.assert_close(Predictor(backend="openvino")(images, network), first)
        assert len(compiled) == compiles
        assert len(kept.read_bytes()) > len(whole) / 2


def test_settings_without_weights_tell_networks_apart(network):
    assert backends.network_hash(network) == backends.network_hash(network)
    other = AnySize(network.network, multiple=8)
    assert backends.network_hash(network) != backends.network_hash(other)


def test_a_cache_folder_that_cannot_be_written_only_costs_time(network, images, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BREASTKIT_CACHE", str(tmp_path / "file"))
    output = Predictor(backend="openvino")(images, network)
    torch.testing.assert_close(output, expected(network, images), rtol=1e-3, atol=1e-3)


def test_conversion_reports_to_nobody(network, images):
    Predictor(backend="openvino")(images, network)
    from openvino.tools.ovc import convert_impl

    assert convert_impl.tm.__name__ == "openvino.tools.ovc.telemetry_stub"


class ListOfTwo(nn.Module):
    """Two outputs, which OpenVINO models of ours do not have."""

    def forward(self, image):
        return (image, image) if torch.jit.is_tracing() else image


def test_auto_falls_back_to_torch_and_openvino_says_why(images):
    network = ListOfTwo().eval()
    torch.testing.assert_close(Predictor(backend="auto")(images, network), images)
    with pytest.raises(BreastkitError, match="choose the backend torch or auto"):
        Predictor(backend="openvino")(images, network)


def test_training_mode_keeps_dropout(images):
    network = nn.Dropout(0.5).train()
    output = Predictor(backend="auto")(torch.ones_like(images), network)
    assert set(output.unique().tolist()) == {0.0, 2.0}


def test_options_are_taken_as_strings_and_refused_with_a_sentence():
    predictor = Predictor(backend="openvino", precision="bf16")
    assert (predictor.backend, predictor.precision) == (Backend.OPENVINO, Precision.BF16)
    with pytest.raises(BreastkitError, match="choose one of auto, torch, openvino"):
        Predictor(backend="tensorrt")
    with pytest.raises(BreastkitError, match="choose one of auto, f32, bf16"):
        Predictor(precision="int8")
    with pytest.raises(BreastkitError, match="batch_size is 0"):
        Predictor(0)


def test_progress_knows_how_many_slices_there_are(network, images, capsys, monkeypatch):
    monkeypatch.setattr(predictor, "_PATIENCE", 0)
    Predictor(backend="torch", progress=True)(images, network)
    assert "/5 [" in capsys.readouterr().err


@pytest.mark.gpu
def test_an_accelerator_gives_the_same(network, images):
    truth = expected(network, images)
    network = network.cuda()
    for precision, tolerance in (("f32", 1e-2), ("bf16", 0.1)):
        output = Predictor(precision=precision)(images.cuda(), network)
        assert output.is_cuda
        torch.testing.assert_close(output.cpu(), truth, rtol=tolerance, atol=tolerance)
