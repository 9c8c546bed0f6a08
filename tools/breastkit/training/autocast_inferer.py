"""Forward passes in bfloat16 where the hardware computes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from monai.inferers import SimpleInferer

Precision = Literal["auto", "bf16", "f32"]


def has_bf16(device: torch.device) -> bool:
    """Tells whether a device computes bfloat16 itself rather than emulating it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


class AutocastInferer(SimpleInferer):
    """Runs a network on whole images, in mixed precision if asked; logits are always float32.

    Args:
        precision: ``f32``; ``bf16`` computes convolutions in bfloat16, about half the time on hardware that has it;
            ``auto`` chooses bf16 on such hardware.
    """

    def __init__(self, *, precision: Precision = "auto"):
        super().__init__()
        if precision not in ("auto", "bf16", "f32"):
            raise ValueError(f"precision must be auto, bf16 or f32, got {precision!r}")
        self.precision = precision

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Returns the network's logits, a list of them where it trains with deep supervision."""
        half = self.precision == "bf16" or (self.precision == "auto" and has_bf16(inputs.device))
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=half):
            logits: Any = super().__call__(inputs, network, *args, **kwargs)
        return [one.float() for one in logits] if isinstance(logits, list) else logits.float()
