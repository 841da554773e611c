"""DSOD's prediction layers: six levels from two of the backbone (Shen et al. 2017, figure 1).

Both kinds are one chain of halving steps and differ in the step. Sizes are rounded up, so that 300 pixels give 38, 19,
10, 5, 3 and 2 cells (the authors' network; the paper's figure shows 1 for the last).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nasdet.models.backbones.dsod import PreActConv
from nasdet.models.layers import FeatureModule, Layers
from nasdet.space.necks import DsodNeckSpec


class DenseStep(nn.Module):
    """Half of the channels by pooling and 1x1, half by 1x1 and 3x3/2."""

    def __init__(self, inputs: int, half: int, layers: Layers) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.passed = PreActConv(inputs, half, 1, layers)
        self.learnt = nn.Sequential(PreActConv(inputs, half, 1, layers), PreActConv(half, half, 3, layers, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, inputs, H, W)` -> `(B, 2 half, ceil(H / 2), ceil(W / 2))`."""
        return torch.cat([self.passed(self.pool(x)), self.learnt(x)], dim=1)


def plain_step(inputs: int, half: int, layers: Layers) -> nn.Module:
    """1x1 and 3x3/2, as in SSD: `(B, inputs, H, W)` -> `(B, 2 half, ceil(H / 2), ceil(W / 2))`."""
    return nn.Sequential(PreActConv(inputs, half, 1, layers), PreActConv(half, 2 * half, 3, layers, stride=2))


class DsodPlain(FeatureModule):
    """The backbone's levels as they are, and one further level per entry of `spec.halves`."""

    step = staticmethod(plain_step)

    def __init__(self, channels: Sequence[int], strides: Sequence[int], spec: DsodNeckSpec, layers: Layers) -> None:
        super().__init__()
        self.channels = (*self._join(channels, strides, spec, layers), *(2 * half for half in spec.halves))
        before = self.channels[len(channels) - 1 : -1]
        self.steps = nn.ModuleList(self.step(c, h, layers) for c, h in zip(before, spec.halves, strict=True))
        self.strides = (*strides, *(strides[-1] * 2 ** (i + 1) for i in range(len(spec.halves))))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Backbone levels -> levels at `strides`; convolutions end them, without norm or activation."""
        levels = self.join(features)
        for step in self.steps:
            levels.append(step(levels[-1]))
        return levels

    def join(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The backbone's levels, joined; here they stay as they are."""
        return list(features)

    def _join(
        self, channels: Sequence[int], strides: Sequence[int], spec: DsodNeckSpec, layers: Layers
    ) -> tuple[int, ...]:
        """Build what `join` needs; the channels of what it gives."""
        return tuple(channels)


class DsodDense(DsodPlain):
    """The last level of the backbone also holds the one before it, pooled, through a 1x1 convolution to
    `spec.join_width` channels; each further level holds the one before it, pooled."""

    step = DenseStep

    def join(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Of two levels the second becomes (B, channels + join_width, H, W); others stay as they are."""
        *before, last = features
        if before:
            last = torch.cat([last, self.joined(self.shrink(before[-1]))], dim=1)
        return [*before, last]

    def _join(
        self, channels: Sequence[int], strides: Sequence[int], spec: DsodNeckSpec, layers: Layers
    ) -> tuple[int, ...]:
        if len(channels) < 2:
            return tuple(channels)
        halvings = (strides[-1] // strides[-2]).bit_length() - 1
        self.shrink = nn.Sequential(*(nn.MaxPool2d(2, 2, ceil_mode=True) for _ in range(halvings)))
        self.joined = PreActConv(channels[-2], spec.join_width, 1, layers)
        return (*channels[:-1], channels[-1] + spec.join_width)
