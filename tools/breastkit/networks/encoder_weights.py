"""What an encoder starts from: ImageNet, a file, or chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.networks.classifier import TimmFeatures
from breastkit.networks.encoder_decoder import EncoderDecoder

IMAGENET = "imagenet"
# Counters of batches, which weights files of other versions lack and which inference does not use.
_COUNTERS = "num_batches_tracked"
_OF_EFFICIENTNET_LITE = "_conv_stem.weight"
logger = get_logger(__name__)


def start_encoder(network: nn.Module, weights: str | Path | None = None) -> nn.Module:
    """Gives a network's encoder the weights its training starts from, logs which, and returns the network.

    The network says which as its ``started_from``.

    Args:
        network: with an `EncoderDecoder` or `TimmFeatures` in it, unless no weights are asked for.
        weights: ``imagenet`` fetches timm's weights of that encoder, or takes them from the cache of an earlier time; a
            path reads a file of such weights (``.pth``, ``.safetensors``), under timm's names or those of
            efficientnet_lite_pytorch; None leaves them random.

    Raises:
        BreastkitError: if there is no encoder, no network connection or file, or the weights are of another encoder.
    """
    # Of a module's attributes torch's types know modules and tensors alone.
    described: Any = network
    described.started_from = "random weights"
    if weights is None:
        logger.info("The network starts from random weights.")
        return network
    encoder = next(filter(None, map(_encoder_in, network.modules())), None)
    if encoder is None:
        raise BreastkitError("This architecture has no encoder to start from weights; leave out --encoder_weights.")
    state = _fetched(encoder.name) if weights == IMAGENET else _under_timms_names(_read(Path(weights)), encoder.name)
    what = _said(weights)
    if isinstance(encoder, TimmFeatures):
        state, of = encoder.start_of(state)
        what = f"{what} ({of})"
    _fill(encoder.model, state, encoder.name, weights)
    logger.info("The encoder %s starts from %s, the rest from random weights.", encoder.name, what)
    described.started_from = what.replace(str(weights), Path(weights).name)
    return network


def _encoder_in(module: nn.Module) -> Any:
    if isinstance(module, EncoderDecoder):
        return module.network.encoder
    return module if isinstance(module, TimmFeatures) else None


def _fetched(name: str) -> dict[str, torch.Tensor]:
    import timm

    try:
        return timm.create_model(name, pretrained=True).state_dict()
    # The hub's client, its HTTP library and timm each raise errors of their own kinds.
    except Exception as error:
        raise BreastkitError(
            f"timm could not fetch ImageNet weights of {name} ({type(error).__name__}); fetch them where there is a "
            "network and give the file with --encoder_weights, or leave that out to start from random weights."
        ) from error


def _read(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise BreastkitError(f"{path} does not exist; give a file of encoder weights, or '{IMAGENET}'.")
    from timm.models import load_state_dict

    try:
        state = load_state_dict(str(path), device="cpu", weights_only=True)
    except Exception as error:
        raise BreastkitError(f"{path} holds no plain weights or is damaged; fetch it again.") from error
    # The encoder of a network of segmentation_models_pytorch, saved by itself, has this before timm's names.
    return {key.removeprefix("model."): tensor for key, tensor in state.items()}


def _under_timms_names(state: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    """Returns weights of the package efficientnet_lite_pytorch, which names the same tensors in the same order."""
    if _OF_EFFICIENTNET_LITE not in state:
        return state
    import timm

    # An EfficientNet-B takes over what the Lite of its size has.
    lite = timm.create_model(name.replace("efficientnet_b", "efficientnet_lite"))
    names = [key for key in lite.state_dict() if not key.endswith(_COUNTERS)]
    tensors = [tensor for key, tensor in state.items() if not key.endswith(_COUNTERS)]
    # Another number of tensors is another network, which filling the encoder finds out.
    return dict(zip(names, tensors, strict=False))


def _fill(encoder: nn.Module, state: dict[str, torch.Tensor], name: str, weights: str | Path) -> None:
    expected = {key: tensor.shape for key, tensor in encoder.state_dict().items() if not key.endswith(_COUNTERS)}
    differing = sum(key not in state or state[key].shape != shape for key, shape in expected.items())
    if differing:
        raise BreastkitError(
            f"{_said(weights)} does not fit the encoder {name} of this architecture ({differing} of {len(expected)} "
            "tensors are missing or of another shape); choose another --architecture or other weights."
        )
    encoder.load_state_dict({key: state[key] for key in expected}, strict=False)


def _said(weights: str | Path) -> str:
    return "ImageNet (timm)" if weights == IMAGENET else str(weights)
