"""Number format of a training step. One decision: "auto" uses bfloat16 where the device computes it natively (about
twice the images per second on CPUs with AVX512-BF16 and on GPUs) and float32 elsewhere; evaluation is float32."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext

import torch


@functools.cache
def native_bf16(device_type: str) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware."""
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device_type == "cpu":
        names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, name, lambda: False)() for name in names)
    return False


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Context of a forward pass in `Recipe.precision`."""
    if precision == "bf16" or (precision == "auto" and native_bf16(device.type)):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()
