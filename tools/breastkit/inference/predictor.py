"""The one predictor: a network over images or the slices of volumes, on the best device at hand."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import nn

from breastkit.errors import BreastkitError
from breastkit.inference.backends import Backend, ConversionError, OpenVINOModel, Precision, openvino_model, run_torch
from breastkit.logs import get_logger
from breastkit.progress import progress_bar

_LOGGER = get_logger(__name__)
# Seconds before a bar appears: a volume that is done by then needs none.
_PATIENCE = 2.0


class Predictor(Inferer):
    """Runs a 2D network over images ``(B, C, H, W)`` or the slices of volumes ``(B, C, H, W, D)``.

    What comes out does not depend on how it is computed: OpenVINO in f32 gives torch's logits within 1e-3 of their
    range, bf16 gives masks that agree with those of f32 at Dice 0.99 or more. Slices that are zero everywhere, such as
    the padding of a volume, look alike to the network and are computed once.

    Args:
        batch_size: images at a time where batches help (torch; fewer of large ones on a CPU).
        backend: ``torch``; ``openvino``; ``auto`` is torch on an accelerator and OpenVINO on a CPU, where it is
            installed and takes the network.
        precision: ``f32``; ``bf16``; ``auto`` is bf16 where the device computes it natively.
        progress: show a bar where a volume takes longer than a moment.

    Raises:
        BreastkitError: if backend or precision is none of these, or OpenVINO was asked for and cannot take the network.
    """

    def __init__(
        self,
        batch_size: int = 16,
        backend: Backend | str = Backend.AUTO,
        precision: Precision | str = Precision.F32,
        *,
        progress: bool = False,
    ) -> None:
        super().__init__()
        if int(batch_size) < 1:
            raise BreastkitError(f"batch_size is {batch_size}; it must be 1 or more.")
        self.batch_size = int(batch_size)
        self.backend = _one_of(Backend, backend, "backend")
        self.precision = _one_of(Precision, precision, "precision")
        self.progress = progress
        self._refused: weakref.WeakSet[nn.Module] = weakref.WeakSet()

    def __call__(  # type: ignore[override]  # MONAI passes any callable; OpenVINO converts modules alone
        self, inputs: torch.Tensor, network: nn.Module, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Returns the network's float32 output in the layout and on the device of the inputs.

        Args:
            inputs: ``(B, C, H, W)`` or ``(B, C, H, W, D)``.
            network: a 2D network whose output has the rows and columns of its input. In training mode torch runs it.
            args: refused; the slices are all a 2D network gets.
            kwargs: refused as well.
        """
        if args or kwargs:
            raise TypeError("Predictor passes the image alone to the network.")
        if inputs.dim() not in (4, 5):
            raise ValueError(f"images (B, C, H, W) or volumes (B, C, H, W, D) are needed, got {tuple(inputs.shape)}")
        images = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        images = images.float()
        if images.dim() == 4:
            return self._run(images, network)
        batch, channels, rows, columns, depth = images.shape
        slices = images.movedim(-1, 1).reshape(batch * depth, channels, rows, columns)
        output = self._run(slices, network)
        return output.reshape(batch, depth, *output.shape[1:]).movedim(1, -1)

    def _run(self, slices: torch.Tensor, network: nn.Module) -> torch.Tensor:
        differ = slices.flatten(1).any(dim=1)
        zero = (~differ).nonzero().flatten()
        # One zero slice stands for all of them.
        differ[zero[:1]] = True
        chosen = differ.nonzero().flatten()
        if self.progress:
            with progress_bar("slices", total=len(chosen), unit="slice", leave=False, delay=_PATIENCE) as bar:
                output = self._run_chosen(slices, chosen, network, advance=bar.update)
        else:
            output = self._run_chosen(slices, chosen, network)
        output[zero[1:]] = output[zero[:1]]
        return output

    def _run_chosen(
        self,
        slices: torch.Tensor,
        chosen: torch.Tensor,
        network: nn.Module,
        *,
        advance: Callable[[int], object] = lambda count: None,
    ) -> torch.Tensor:
        model = self._openvino(slices, network)
        if model is None:
            return run_torch(
                network, slices, chosen, batch_size=self.batch_size, precision=self.precision, advance=advance
            )
        return model(slices, chosen, advance=advance).to(slices.device)

    def _openvino(self, slices: torch.Tensor, network: nn.Module) -> OpenVINOModel | None:
        """Returns the converted network where OpenVINO is to compute it, else None."""
        if self.backend is Backend.TORCH or network.training:
            return None
        if self.backend is Backend.AUTO and (slices.device.type != "cpu" or network in self._refused):
            return None
        try:
            return openvino_model(network, tuple(slices.shape[1:]), precision=self.precision)
        except ConversionError as error:
            if self.backend is Backend.OPENVINO:
                raise BreastkitError(f"{error}; choose the backend torch or auto.") from error
            _LOGGER.info("%s; torch computes it.", error)
            self._refused.add(network)
            return None


def _one_of(kind: type[Backend] | type[Precision], value: str, name: str) -> Any:
    try:
        return kind(value)
    except ValueError as error:
        raise BreastkitError(f"{name} is '{value}'; choose one of {', '.join(kind)}.") from error
