"""PyTorch's process-wide settings, for the length of a block: a library leaves the process as it found it."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""Parameters of mallopt(3)."""


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Run operations on the CPU with `count` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def exact_convolutions(device: torch.device) -> Iterator[None]:
    """Convolutions on a GPU in whole float32, not in TF32 with its mantissa of 10 bits."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def keep_freed_memory() -> bool:
    """Let the process keep the memory that tensors free: given back to the system in every step, it is cleared before
    it comes back, which takes up to a sixth of a training on the CPU (docs/log.md).

    Returns:
        Whether anything changed: with another C library than glibc nothing does.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return False
    return bool(libc.mallopt(_MMAP_MAX, 0) and libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1))


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """`keep_freed_memory`, and afterwards give it back and let the C library do as it does at most."""
    changed = keep_freed_memory()
    try:
        yield
    finally:
        if changed:
            libc = ctypes.CDLL(None)
            libc.mallopt(_MMAP_MAX, 65_536)
            libc.mallopt(_MMAP_THRESHOLD, 32 << 20)
            libc.mallopt(_TRIM_THRESHOLD, 64 << 20)
            libc.malloc_trim(0)
