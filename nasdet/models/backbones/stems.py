"""Stems: from the image to the first feature map.

A new stem is one function, one entry of `STEMS`, and its name with its stride in `space.backbones`, because strides
must be known without building anything.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from nasdet.models.layers import Layers


def conv3x3(channels: int, width: int, layers: Layers) -> nn.Module:
    """One 3x3/2 convolution; stride 2."""
    return layers.conv(channels, width, 3, 2)


def deep3x3(channels: int, width: int, layers: Layers) -> nn.Module:
    """3x3/2, 3x3, 3x3/2, the first two half as wide (ResNet-D); stride 4."""
    half = max(8, width // 2)
    convs = (layers.conv(channels, half, 3, 2), layers.conv(half, half, 3), layers.conv(half, width, 3, 2))
    return nn.Sequential(*convs)


def conv7x7_pool(channels: int, width: int, layers: Layers) -> nn.Module:
    """7x7/2 and 3x3/2 max pooling (ResNet); stride 4."""
    return nn.Sequential(layers.conv(channels, width, 7, 2), nn.MaxPool2d(3, 2, 1))


def root(channels: int, width: int, layers: Layers) -> nn.Module:
    """Three 3x3 at full resolution and 2x2 max pooling (ScratchDet's root block); stride 2."""
    convs = (layers.conv(channels, width, 3), layers.conv(width, width, 3), layers.conv(width, width, 3))
    return nn.Sequential(*convs, nn.MaxPool2d(2))


Stem = Callable[[int, int, Layers], nn.Module]
STEMS: dict[str, Stem] = {"conv3x3": conv3x3, "deep3x3": deep3x3, "conv7x7_pool": conv7x7_pool, "root": root}
"""Name -> function (image channels, width, layers) -> module."""
