"""Parameters and multiply-adds of a specification, without allocating the network.

The network is built and run on the meta device. Hooks count the multiply-adds of convolutions, linear layers and
attentions; norms, activations and decoding are not counted, as in the papers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from timm.layers import Attention
from torch import Tensor, nn

from nasdet.models.detector import build_detector
from nasdet.space.presets import Counts
from nasdet.space.specs import DetectorSpec

COUNTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, Attention)


@dataclasses.dataclass(frozen=True)
class Costs:
    """Size of a network and work for one image at the size of `spec.input`."""

    params: int
    """Trainable parameters."""
    macs: int
    """Multiply-adds of convolutions, linear layers and attention."""
    stride: int
    """Pixels per cell of the finest level of the head."""

    @property
    def params_m(self) -> float:
        """Trainable parameters in 1e6."""
        return self.params / 1e6

    @property
    def gflops(self) -> float:
        """Multiply-adds in 1e9."""
        return self.macs / 1e9


def count_costs(spec: DetectorSpec) -> Costs:
    """Costs of `spec` for one image of its input size."""
    with torch.device("meta"):
        detector = build_detector(spec).eval()
        image = torch.empty(1, spec.input.channels, spec.input.height, spec.input.width)
    return Costs(count_params(detector), count_macs(detector, lambda: detector(image)), min(detector.strides))


def published_count(spec: DetectorSpec, counts: Counts) -> int:
    """Number of parameters as the source of a preset counts them (`space.presets.Counts`)."""
    with torch.device("meta"):
        detector = build_detector(spec)
    if counts in ("backbone", "trunk"):
        return count_params(detector.backbone if counts == "backbone" else detector.backbone.get_submodule("trunk"))
    statistics = (b for name, b in detector.named_buffers() if name.endswith(("running_mean", "running_var")))
    return count_params(detector) + (sum(b.numel() for b in statistics) if counts == "with_statistics" else 0)


def count_params(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def count_macs(module: nn.Module, run: Callable[[], object]) -> int:
    """Multiply-adds of the convolutions, linear layers and attentions of `module` while `run()` runs it."""
    total = 0

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += _layer_macs(layer, inputs[0], output)

    layers = [m for m in module.modules() if isinstance(m, COUNTED)]
    handles = [layer.register_forward_hook(add) for layer in layers]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return total


def _layer_macs(layer: nn.Module, x: Tensor, output: Tensor) -> int:
    if isinstance(layer, Attention):  # two products of tokens with tokens; its linear layers have hooks of their own
        return int(2 * x.shape[0] * x.shape[1] ** 2 * layer.attn_dim)
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return (x if isinstance(layer, nn.ConvTranspose2d) else output).numel() * weight[0].numel()
