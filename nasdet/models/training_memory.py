"""Memory of a training step: the bytes kept for the gradient, and the bytes a device has free.

One decision: tensors that autograd keeps are counted on the meta device by its own hooks, each storage once, so that
nothing is allocated and no formula per layer can become wrong.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from nasdet.models.detector import build_detector
from nasdet.space.specs import DetectorSpec

_IMAGES = 2  # a batch norm over one image has nothing to normalise where a level has one cell
_MEMINFO, _CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def saved_bytes(run: Callable[[], object], known: Iterable[Tensor] = ()) -> int:
    """Bytes of all tensors that `run()` keeps for its gradient, each storage once.

    Args:
        run: builds a graph; its result is dropped.
        known: tensors that exist anyway, such as parameters, and do not count.
    """
    before = {t.untyped_storage()._cdata for t in known}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor  # a reference, so that no other storage gets the same address
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in before)


def saved_per_image(spec: DetectorSpec, *, recompute: bool = False) -> int:
    """Bytes kept for the gradient of one image of the input size in float32; without the losses, which keep little."""
    with torch.device("meta"):
        detector = build_detector(spec).train()
        images = torch.empty(_IMAGES, spec.input.channels, spec.input.height, spec.input.width)
    detector.set_recompute(recompute)
    return saved_bytes(lambda: detector(images), known_tensors(detector)) // _IMAGES


def known_tensors(model: nn.Module) -> list[Tensor]:
    """Parameters and buffers of `model`."""
    return [*model.parameters(), *model.buffers()]


def free_bytes(device: torch.device) -> int:
    """Bytes that a process can still take: of the GPU with what it holds unused itself, else of main memory, within
    the limit of the container."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(_free_ram(), _free_in_container())


def _free_ram() -> int:
    if _MEMINFO.exists():
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        if "MemAvailable" in lines:
            return int(lines["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _free_in_container() -> int:
    """What the container's limit leaves; file pages that are in its use but not active can be taken back."""
    try:
        limit, used = ((_CGROUP / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        pages = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    except OSError:
        return sys.maxsize
    return sys.maxsize if limit == "max" else int(limit) - int(used) + int(pages.get("inactive_file", 0))
