"""Extra layers of SSD below the backbone's levels, and Pelee's residual prediction blocks after them.

A level of stride 1 loses its border by an unpadded convolution, as published. If a side has fewer than 3 cells it is
padded, so that the same specification works on canvases of any size.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from nasdet.models.layers import FeatureModule, Layers
from nasdet.models.norm import activation
from nasdet.space.necks import ExtraLevelsSpec, ExtraSpec, ResidualPredictionSpec


class ExtraLevel(nn.Module):
    """1x1, then 3x3 at stride 2, or at stride 1 without padding."""

    def __init__(self, inputs: int, spec: ExtraSpec, layers: Layers) -> None:
        super().__init__()
        self.shrinks = spec.stride == 1
        self.squeeze = layers.conv(inputs, spec.squeeze, 1)
        self.expand = layers.conv(spec.squeeze, spec.width, 3, spec.stride, padding=0 if self.shrinks else None)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` -> `(B, width, H / 2, W / 2)` or `(B, width, H - 2, W - 2)`."""
        x = self.squeeze(x)
        if self.shrinks:
            rows, columns = (int(side < 3) for side in x.shape[-2:])
            x = F.pad(x, (columns, columns, rows, rows)) if rows or columns else x
        expanded: Tensor = self.expand(x)
        return expanded


class ExtraLevels(FeatureModule):
    """The backbone's levels as they are, and further ones after the last."""

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        spec: ExtraLevelsSpec | ResidualPredictionSpec,
        layers: Layers,
    ) -> None:
        super().__init__()
        self.extras = nn.ModuleList()
        width, stride = channels[-1], strides[-1]
        widths, steps = list(channels), list(strides)
        for extra in spec.extras:
            self.extras.append(ExtraLevel(width, extra, layers if spec.extra_norm else layers.without_norm()))
            width, stride = extra.width, stride * extra.stride
            widths.append(width)
            steps.append(stride)
        self.channels, self.strides = tuple(widths), tuple(steps)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Backbone levels -> the same and the extra ones."""
        levels = list(features)
        for extra in self.extras:
            levels.append(extra(levels[-1]))
        return levels


class ResidualPrediction(ExtraLevels):
    """Extra levels, and a residual block on each level, the first put out twice where the specification says so."""

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], spec: ResidualPredictionSpec, layers: Layers
    ) -> None:
        super().__init__(channels, strides, spec, layers)
        self.blocks = nn.ModuleList(ResidualBlock(c, spec, layers) for c in self.channels)
        repeats = self.strides[:1] if spec.repeat_first else ()
        self.strides = (*repeats, *self.strides)
        self.channels = (spec.width,) * len(self.strides)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Backbone levels -> levels of `width` channels."""
        levels = [block(x) for block, x in zip(self.blocks, super().forward(features), strict=True)]
        return levels[:1] * (len(self.strides) - len(levels)) + levels


class ResidualBlock(nn.Module):
    """1x1-3x3-1x1 beside a 1x1 projection, then the activation."""

    def __init__(self, inputs: int, spec: ResidualPredictionSpec, layers: Layers) -> None:
        super().__init__()
        inner = max(1, int(spec.width * spec.bottleneck_ratio))
        self.project = layers.conv(inputs, spec.width, 1, apply_act=False)
        self.body = nn.Sequential(
            layers.conv(inputs, inner, 1),
            layers.conv(inner, inner, 3),
            layers.conv(inner, spec.width, 1, apply_act=False),
        )
        self.act = activation(layers.act)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` -> `(B, width, H, W)`."""
        activated: Tensor = self.act(self.project(x) + self.body(x))
        return activated
