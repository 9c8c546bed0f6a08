"""Weights of the ultrasound bundles that answer the same whatever they see, so that what follows can be checked."""

from __future__ import annotations

from pathlib import Path

import torch

from breastkit.bundle import Bundle
from breastkit.networks import from_file
from breastkit.pipelines import ULTRASOUND
from breastkit.training import save_weights

VIEWS = {"fusion": ["gray", "lesion", "mask"], "image": ["gray"], "mask_aware": ["gray", "mask"]}
CLASSIFIER = Bundle(ULTRASOUND)
CLASSES = {3: ["normal", "benign", "malignant"], 2: ["benign", "malignant"]}


def segmenter_weights(folder: Path, *, everything: bool) -> Path:
    """Writes weights of a network that outlines the whole picture, or nothing."""
    network = _network(CLASSIFIER.used("segmenter"), "light")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        list(network.parameters())[-1].fill_(4.0 if everything else -4.0)
    return save_weights(folder, network, architecture="light", image_size=32, threshold=0.5)


def classifier_weights(
    folder: Path, probabilities: tuple[float, ...], *, variant: str, size: int = 32, **facts: object
) -> Path:
    """Writes weights of a variant that gives these probabilities, of two classes or three."""
    network = _network(CLASSIFIER, variant)
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.copy_(torch.tensor(probabilities).log())
    return _save(folder, network, variant, size, **facts)


def chain_weights(folder: Path) -> dict[str, str]:
    """Writes weights of the chain as its options: all is a lesion, malignant with 0.8, normal with 0.25."""
    classifier = classifier_weights(folder / "fusion", (0.2, 0.8), variant="fusion", threshold=0.55)
    normal = classifier_weights(folder / "aware", (0.25, 0.45, 0.3), variant="mask_aware", threshold=0.35)
    return {
        "segmenter": str(segmenter_weights(folder / "all", everything=True)),
        "classifier": str(classifier),
        "normal_classifier": str(normal),
        "backend": "torch",
    }


def random_classifier(folder: Path, *, variant: str, size: int = 64, **facts: object) -> Path:
    """Writes random weights of a variant, which look at something."""
    return _save(folder, _network(CLASSIFIER, variant), variant, size, **facts)


def _network(bundle: Bundle, architecture: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return from_file(bundle.folder / "configs" / "networks.json", architecture).eval()


def _save(folder: Path, network: torch.nn.Module, variant: str, size: int, **facts: object) -> Path:
    fixed = {"threshold": 0.5, "temperature": 1.0, "abstain_above": 0.95, "samples": 4}
    return save_weights(
        folder,
        network,
        architecture=variant,
        image_size=size,
        classes=CLASSES[network.head.out_features],
        view={"channels": VIEWS[variant], "margin": None},
        **{**fixed, **facts},
    )
