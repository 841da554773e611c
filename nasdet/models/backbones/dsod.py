"""DSOD's backbone: a stem of 3x3 convolutions and dense blocks (Shen et al. 2017, table 1).

Normalisation and activation come before each convolution. A dense layer is two such units that take their inputs as a
list, so that activation checkpointing keeps the growing features once instead of once per layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nasdet.models.activation_checkpointing import run
from nasdet.models.backbones.stems import STEMS
from nasdet.models.layers import FeatureModule, Layers
from nasdet.models.norm import NoNormAct
from nasdet.space.backbones import DsodSpec


class PreActConv(nn.Module):
    """Norm, activation, convolution (padded to ceil(size / stride)) of the concatenated inputs."""

    def __init__(self, inputs: int, outputs: int, kernel: int, layers: Layers, *, stride: int = 1) -> None:
        super().__init__()
        self.norm = layers.norm_act(inputs)
        if isinstance(self.norm, NoNormAct) and isinstance(self.norm.act, nn.ReLU):
            self.norm.act.inplace = False  # without a norm it would change what others read as well
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=layers.bias)

    def forward(self, *features: Tensor) -> Tensor:
        """`(B, C_i, H, W)` of any number, channels `inputs` together -> `(B, outputs, H', W')`."""
        x = torch.cat(features, dim=1) if len(features) > 1 else features[0]
        output: Tensor = self.conv(self.norm(x))
        return output


class DenseLayer(nn.Module):
    """1x1 to `bottleneck` channels, 3x3 to `growth_rate` channels, of all features before it."""

    def __init__(self, inputs: int, spec: DsodSpec, layers: Layers) -> None:
        super().__init__()
        self.squeeze = PreActConv(inputs, spec.bottleneck, 1, layers)
        self.grow = PreActConv(spec.bottleneck, spec.growth_rate, 3, layers)

    def forward(self, *features: Tensor) -> Tensor:
        """All features before -> the `growth_rate` new ones."""
        return run(self.grow, run(self.squeeze, *features))


class DenseBlock(nn.Module):
    """Layers that each read all features before them, and a 1x1 convolution over all of them (the transition)."""

    def __init__(self, inputs: int, depth: int, outputs: int, spec: DsodSpec, layers: Layers) -> None:
        super().__init__()
        growing = [inputs + i * spec.growth_rate for i in range(depth + 1)]
        self.layers = nn.ModuleList(DenseLayer(channels, spec, layers) for channels in growing[:-1])
        self.transition = PreActConv(growing[-1], outputs, 1, layers)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, inputs, H, W)` -> `(B, outputs, H, W)`."""
        features = [x]
        for layer in self.layers:
            features.append(layer(*features))
        return run(self.transition, *features)


class DsodBackbone(FeatureModule):
    """Stem to stride 4; one dense block each at strides 4 and 8, the others at stride 16.

    Pools round up, as Caffe's do: 300 pixels give 150, 75, 38 and 19 cells.
    """

    def __init__(self, spec: DsodSpec, image_channels: int, wanted: Sequence[int], layers: Layers) -> None:
        """`wanted`: of -2 (the end of the second block) and -1 (the end of the last)."""
        super().__init__()
        self.stem = _stem(spec, image_channels, layers)
        self.pool = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.blocks = nn.ModuleList()
        self.wanted = [1 if w == -2 else len(spec.depths) - 1 for w in wanted]
        channels = [2 * spec.stem_width]
        for number, depth in enumerate(spec.depths[: self.wanted[-1] + 1]):
            grown = channels[-1] + depth * spec.growth_rate
            is_last = number == len(spec.depths) - 1
            outputs = spec.last_width if is_last and spec.last_width else max(1, int(spec.compression * grown))
            self.blocks.append(DenseBlock(channels[-1], depth, outputs, spec, layers))
            channels.append(outputs)
        self.channels = tuple(channels[w + 1] for w in self.wanted)
        self.strides = tuple(spec.strides[w] for w in wanted)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, C, H, W), normalised -> wanted levels, each (B, channels, ceil(H / stride), ceil(W / stride))."""
        x, outputs = self.stem(images), []
        for number, block in enumerate(self.blocks):
            x = block(self.pool(x) if number in (1, 2) else x)
            if number in self.wanted:
                outputs.append(x)
        return outputs


def _stem(spec: DsodSpec, channels: int, layers: Layers) -> nn.Module:
    """From the image to stride 4."""
    width = spec.stem_width
    if spec.stem != "dsod":
        return STEMS[spec.stem](channels, 2 * width, layers)
    convs = (layers.conv(channels, width, 3, 2), layers.conv(width, width, 3), layers.conv(width, 2 * width, 3))
    return nn.Sequential(*convs, nn.MaxPool2d(2, 2, ceil_mode=True))
