"""Randomness: one seed, and from it as many independent streams as there are things to draw."""

from __future__ import annotations

import hashlib
import random

import numpy as np


def generator(seed: int, *keys: int | str) -> np.random.Generator:
    """Returns the random stream that belongs to a seed and keys, the same in every process and on every run.

    Args:
        seed: the seed of the run.
        keys: what the stream is for, for example ``("mri", case)``; other keys give an independent stream.
    """
    digest = hashlib.sha256(repr((int(seed), *keys)).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def seed_everything(seed: int) -> int:
    """Seeds Python, numpy, torch and MONAI, asks torch for repeatable algorithms, and returns the seed."""
    import torch
    from monai.utils import set_determinism

    random.seed(seed)
    set_determinism(seed=seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    return seed
