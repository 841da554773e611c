"""Pyramids: mix backbone features of several resolutions into levels of equal width. Resampling follows the published
strides, so that levels of equal stride (DetNet) are joined without any."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasdet.models.blocks import cross_stage
from nasdet.models.layers import FeatureModule, Layers
from nasdet.space.necks import PyramidSpec


class Laterals(FeatureModule):
    """1x1 convolutions to equal width, and further levels made of the last one.

    Plain ones have a bias, neither norm nor activation, and a ReLU before every further level but the first.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], spec: PyramidSpec, layers: Layers) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(_conv(c, spec.width, 1, 1, spec, layers) for c in channels)
        self.extra = nn.ModuleList(_halve(spec, layers) for _ in range(spec.extra_levels))
        self.relu_between = spec.plain and spec.extra == "conv"
        self.strides = (*strides, *(strides[-1] * 2 ** (i + 1) for i in range(spec.extra_levels)))
        self.channels = (spec.width,) * len(self.strides)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Backbone levels -> levels of `width` channels at `strides`."""
        levels = self.fuse([lateral(x) for lateral, x in zip(self.laterals, features, strict=True)])
        for number, extra in enumerate(self.extra):
            levels.append(extra(levels[-1].relu() if self.relu_between and number else levels[-1]))
        return levels

    def fuse(self, levels: list[Tensor]) -> list[Tensor]:
        """Mix levels of equal width; here they stay as they are."""
        return levels


class FPN(Laterals):
    """Feature pyramid: the coarser level is enlarged and added, `depth` 3x3 convolutions follow (Lin et al. 2017)."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int], spec: PyramidSpec, layers: Layers) -> None:
        super().__init__(channels, strides, spec, layers)
        self.smooth = nn.ModuleList(
            nn.Sequential(*(_conv(spec.width, spec.width, 3, 1, spec, layers) for _ in range(spec.depth)))
            for _ in channels
        )

    def fuse(self, levels: list[Tensor]) -> list[Tensor]:
        """Top-down sums, then the 3x3 convolutions."""
        for i in range(len(levels) - 2, -1, -1):
            levels[i] = levels[i] + enlarge(levels[i + 1], levels[i])
        return [smooth(x) for smooth, x in zip(self.smooth, levels, strict=True)]


class PAN(Laterals):
    """Path aggregation: top-down and bottom-up; each fusion is a cross stage of `depth` blocks over both inputs."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int], spec: PyramidSpec, layers: Layers) -> None:
        super().__init__(channels, strides, spec, layers)
        fusions = len(channels) - 1
        self.down = nn.ModuleList(_fusion(spec, layers) for _ in range(fusions))
        self.up = nn.ModuleList(_fusion(spec, layers) for _ in range(fusions))
        self.shrink = nn.ModuleList(
            _shrink(spec.width, coarse // fine, layers) for fine, coarse in itertools.pairwise(strides)
        )

    def fuse(self, levels: list[Tensor]) -> list[Tensor]:
        """Top-down, then bottom-up."""
        for i in range(len(levels) - 2, -1, -1):
            levels[i] = self.down[i](torch.cat([levels[i], enlarge(levels[i + 1], levels[i])], dim=1))
        for i in range(len(levels) - 1):
            levels[i + 1] = self.up[i](torch.cat([self.shrink[i](levels[i]), levels[i + 1]], dim=1))
        return levels


def enlarge(coarse: Tensor, fine: Tensor) -> Tensor:
    """Repeat the pixels of `coarse` to the size of `fine`."""
    return coarse if coarse.shape[-2:] == fine.shape[-2:] else F.interpolate(coarse, fine.shape[-2:], mode="nearest")


def _conv(inputs: int, outputs: int, kernel: int, stride: int, spec: PyramidSpec, layers: Layers) -> nn.Module:
    if spec.plain and spec.plain_norm:
        return layers.conv(inputs, outputs, kernel, stride, apply_act=False)
    if spec.plain:
        return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)
    return layers.conv(inputs, outputs, kernel, stride)


def _halve(spec: PyramidSpec, layers: Layers) -> nn.Module:
    """The next level at half the resolution, rounded up."""
    return nn.MaxPool2d(1, 2) if spec.extra == "pool" else _conv(spec.width, spec.width, 3, 2, spec, layers)


def _fusion(spec: PyramidSpec, layers: Layers) -> nn.Module:
    if spec.depth == 0:
        return layers.conv(2 * spec.width, spec.width, 1)
    return cross_stage(2 * spec.width, spec.width, layers, depth=spec.depth)


def _shrink(width: int, ratio: int, layers: Layers) -> nn.Module:
    """3x3/2 convolutions that reduce the resolution `ratio` times (a power of 2)."""
    return nn.Sequential(*(layers.conv(width, width, 3, 2) for _ in range(ratio.bit_length() - 1)))
