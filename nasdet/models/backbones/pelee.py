"""PeleeNet (Wang et al. 2018). A level is the 1x1 convolution at the end of a block before it is pooled, where the
authors' detector reads it as well."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nasdet.models.activation_checkpointing import run
from nasdet.models.layers import FeatureModule, Layers
from nasdet.space.backbones import PeleeSpec


class PeleeStem(nn.Module):
    """3x3/2, then max pooling beside 1x1 and 3x3/2, joined by 1x1; stride 4."""

    def __init__(self, channels: int, width: int, layers: Layers) -> None:
        super().__init__()
        half = max(1, width // 2)
        self.first = layers.conv(channels, width, 3, 2)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.branch = nn.Sequential(layers.conv(width, half, 1), layers.conv(half, width, 3, 2))
        self.join = layers.conv(2 * width, width, 1)

    def forward(self, images: Tensor) -> Tensor:
        """`(B, C, H, W)` -> `(B, width, H / 4, W / 4)`."""
        x = self.first(images)
        joined: Tensor = self.join(torch.cat([self.pool(x), self.branch(x)], dim=1))
        return joined


class TwoWayDenseLayer(nn.Module):
    """Its input, and beside it 1x1-3x3 (one way) and 1x1-3x3-3x3 (the other) of `way` channels each."""

    def __init__(self, inputs: int, way: int, inner: int, layers: Layers) -> None:
        super().__init__()
        self.short = nn.Sequential(layers.conv(inputs, inner, 1), layers.conv(inner, way, 3))
        self.long = nn.Sequential(layers.conv(inputs, inner, 1), layers.conv(inner, way, 3), layers.conv(way, way, 3))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` -> `(B, C + 2 * way, H, W)`."""
        return torch.cat([x, self.short(x), self.long(x)], dim=1)


class PeleeNet(FeatureModule):
    """Stem, dense blocks with their transitions, average pooling between."""

    def __init__(self, spec: PeleeSpec, image_channels: int, wanted: Sequence[int], layers: Layers) -> None:
        super().__init__()
        self.stem = PeleeStem(image_channels, spec.stem_width, layers)
        self.pool = nn.AvgPool2d(2, ceil_mode=True)
        self.wanted = [len(spec.depths) + w for w in wanted]
        self.blocks = nn.ModuleList()
        width, channels = spec.stem_width, []
        for number in range(self.wanted[-1] + 1):
            block, width = _block(number, width, spec, layers)
            self.blocks.append(block)
            channels.append(width)
        self.channels = tuple(channels[w] for w in self.wanted)
        self.strides = tuple(spec.strides[w] for w in self.wanted)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, C, H, W), normalised -> wanted levels, each (B, channels, ceil(H / stride), ceil(W / stride))."""
        x, outputs = self.stem(images), []
        for number, block in enumerate(self.blocks):
            x = run(block, x if number == 0 else self.pool(x))
            if number in self.wanted:
                outputs.append(x)
        return outputs


def _block(number: int, width: int, spec: PeleeSpec, layers: Layers) -> tuple[nn.Module, int]:
    """Dense layers and the closing 1x1 convolution of one block; its channels."""
    way = spec.growth_rate // 2
    factor = spec.bottlenecks[min(number, len(spec.bottlenecks) - 1)]
    inner = max(4, way * factor // 4 * 4)
    block = nn.Sequential()
    for _ in range(spec.depths[number]):
        block.append(TwoWayDenseLayer(width, way, inner, layers))
        width += 2 * way
    return block.append(layers.conv(width, width, 1)), width
