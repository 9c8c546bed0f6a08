"""Ensembles: a network with its dropout on, or the networks of several folds."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from monai.inferers import Inferer
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from breastkit.errors import BreastkitError
from breastkit.weights import load_weights


class EnsembleSource(StrEnum):
    """Where the members of an ensemble come from."""

    NONE = "none"
    DROPOUT = "dropout"
    FOLDS = "folds"


class Ensemble(Inferer):
    """Runs another inferer several times and gives one output channel per member.

    Args:
        inferer: takes images and gives logits of one channel.
        source: ``none`` runs it once; ``dropout`` runs the network `samples` times with its dropout on (Monte-Carlo
            dropout); ``folds`` runs the network as it is and with each of the fold weights.
        samples: number of runs with dropout.
        fold_weights: weights of the same architecture, one file or folder per fold.

    Raises:
        BreastkitError: if there are no fold weights although they were asked for, or another word is given.
    """

    def __init__(
        self,
        inferer: Inferer,
        *,
        source: EnsembleSource | str | None = EnsembleSource.NONE,
        samples: int = 10,
        fold_weights: Sequence[str | Path] = (),
    ) -> None:
        super().__init__()
        try:
            self.source = EnsembleSource(source or EnsembleSource.NONE)
        except ValueError as error:
            raise BreastkitError(f"uncertainty is '{source}'; choose one of {', '.join(EnsembleSource)}.") from error
        if self.source is EnsembleSource.FOLDS and not fold_weights:
            raise BreastkitError(
                "Uncertainty from folds needs the weights of folds; name them with --fold_weights, or choose "
                "--uncertainty dropout."
            )
        if self.source is EnsembleSource.DROPOUT and samples < 2:
            raise BreastkitError(f"samples is {samples}; uncertainty needs 2 or more.")
        self.inferer, self.samples, self.fold_weights = inferer, int(samples), tuple(fold_weights)
        self._folds: list[nn.Module] = []

    def __call__(  # type: ignore[override]  # networks alone: of a function no copy could be made
        self, inputs: torch.Tensor, network: nn.Module, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Returns the members' logits ``(B, members, H, W)``.

        Raises:
            BreastkitError: if the network has no dropout to switch on, or fold weights do not fit it.
        """
        if self.source is EnsembleSource.NONE:
            members = [self.inferer(inputs, network, *args, **kwargs)]
        elif self.source is EnsembleSource.DROPOUT:
            with dropout_on(network):
                members = [self.inferer(inputs, network, *args, **kwargs) for _ in range(self.samples)]
        else:
            networks = [network, *self._of_folds(network)]
            members = [self.inferer(inputs, member, *args, **kwargs) for member in networks]
        return members[0] if len(members) == 1 else torch.cat(members, dim=1)

    def _of_folds(self, network: nn.Module) -> list[nn.Module]:
        if not self._folds:
            for path in self.fold_weights:
                fold = copy.deepcopy(network).eval()
                load_weights(path, fold)
                self._folds.append(fold)
        return self._folds


@contextmanager
def dropout_on(network: nn.Module) -> Iterator[None]:
    """Switches a network's dropout on and everything else off training, such as batch norm.

    The network itself counts as training meanwhile, so that no converted copy without dropout runs in its place.

    Raises:
        BreastkitError: if it has no dropout.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, _DropoutNd) and layer.p > 0]
    if not layers:
        raise BreastkitError(
            "This network has no dropout to be uncertain with; choose --uncertainty folds, or another architecture."
        )
    modes = {module: module.training for module in network.modules()}
    network.eval()
    for module in (network, *layers):
        module.training = True
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
