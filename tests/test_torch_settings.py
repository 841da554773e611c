from __future__ import annotations

import ctypes
import resource

import pytest
import torch

from nasdet.torch_settings import freed_memory_kept

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="only glibc can be told so")
MEGABYTES = 48


def taken_from_the_system(times: int) -> float:
    """Megabytes of pages that a tensor of 48 MB needs anew when it is made and freed again and again."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.full((MEGABYTES, 1 << 18), 1.0)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() / 2**20


def test_memory_that_tensors_free_is_used_again() -> None:
    with freed_memory_kept():
        taken_from_the_system(20)  # until the gaps that alignment leaves are large enough
        assert taken_from_the_system(10) < MEGABYTES
