"""BiFPN (Tan et al. 2020, EfficientDet): levels mixed top-down and bottom-up, several times, by learnt weights.

Every level enters through one 1x1 convolution that both directions read (EfficientDet has a second one
for the bottom-up pass of the first repeat), so that each repeat is the same module.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasdet.models.layers import FeatureModule, Layers
from nasdet.models.necks.pyramid import enlarge
from nasdet.models.norm import activation
from nasdet.space.necks import BiFpnSpec

EPS = 1e-4


class Fusion(nn.Module):
    """Fast normalised fusion of `count` inputs, activation, 3x3 depthwise and 1x1 convolution, norm."""

    def __init__(self, count: int, width: int, layers: Layers) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(count))
        self.act = activation(layers.act)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.pointwise = layers.conv(width, width, 1, apply_act=False)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Maps (B, C, H, W) of equal size -> (B, C, H, W); weights are positive and add up to 1."""
        weights = self.weights.relu()
        weights = weights / (weights.sum() + EPS)
        mixed = inputs[0] * weights[0]
        for number, x in enumerate(inputs[1:], start=1):
            mixed = torch.addcmul(mixed, x, weights[number])
        fused: Tensor = self.pointwise(self.depthwise(self.act(mixed)))
        return fused


class Repeat(nn.Module):
    """One pass down and one pass up over the levels."""

    def __init__(self, strides: Sequence[int], width: int, layers: Layers) -> None:
        super().__init__()
        inner = len(strides) - 2
        self.ratios = [coarse // fine for fine, coarse in itertools.pairwise(strides)]
        self.down = nn.ModuleList(Fusion(2, width, layers) for _ in self.ratios)
        self.up = nn.ModuleList(Fusion(3 if i < inner else 2, width, layers) for i in range(len(self.ratios)))

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Levels -> levels of the same sizes."""
        middle = list(levels)
        for i in range(len(levels) - 2, -1, -1):
            middle[i] = self.down[i](levels[i], enlarge(middle[i + 1], levels[i]))
        out = [middle[0]]
        for i, fusion in enumerate(self.up, start=1):
            own = (levels[i], middle[i]) if i < len(levels) - 1 else (levels[i],)
            out.append(fusion(*own, _pool(out[-1], self.ratios[i - 1])))
        return out


class BiFPN(FeatureModule):
    """1x1 convolutions to equal width, further levels by max pooling, then `spec.repeats` passes down and up."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int], spec: BiFpnSpec, layers: Layers) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(layers.conv(c, spec.width, 1, apply_act=False) for c in channels)
        self.strides = (*strides, *(strides[-1] * 2 ** (i + 1) for i in range(spec.extra_levels)))
        self.channels = (spec.width,) * len(self.strides)
        self.repeats = nn.ModuleList(Repeat(self.strides, spec.width, layers) for _ in range(spec.repeats))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Backbone levels -> levels of `width` channels at `strides`."""
        levels = [lateral(x) for lateral, x in zip(self.laterals, features, strict=True)]
        while len(levels) < len(self.strides):
            levels.append(_pool(levels[-1], 2))
        for repeat in self.repeats:
            levels = repeat(levels)
        return levels


def _pool(x: Tensor, ratio: int) -> Tensor:
    """3x3/2 max pooling until the resolution is `ratio` times lower (a power of 2)."""
    for _ in range(ratio.bit_length() - 1):
        x = F.max_pool2d(x, 3, stride=2, padding=1)
    return x
