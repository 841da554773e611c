"""Stages of residual blocks and cross stages, from timm's own blocks.

A new block is one function and one entry of `BLOCKS`, and its name in `space.backbones`. Every residual block has a
`DropPath`, at rate 0 after building, so that the rate belongs to the recipe and can be set on a built detector.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from timm.layers import DropPath, make_divisible
from timm.models import byobnet, cspnet
from torch import Tensor, nn

from nasdet.models.layers import Layers, add_missing_biases
from nasdet.space.backbones import StagedSpec, StageSpec

StageBuilder = Callable[[int, StageSpec, StagedSpec, Layers], nn.Module]


def largest_groups(wanted: int, *channels: int) -> int:
    """Largest number of groups, at most `wanted`, that divides all of `channels`."""
    common = math.gcd(*channels)
    return next(g for g in range(min(wanted, common), 0, -1) if common % g == 0)


def residual_stage(block: type[nn.Module], grouped: Callable[[int, int, int], tuple[int, ...]]) -> StageBuilder:
    """Stage of one of byobnet's blocks; `grouped(inputs, inner, outputs)` = channels its grouped convolution joins.

    A dilated stage that keeps the resolution opens with a 1x1 projection even at equal width (DetNet).
    """

    def build(inputs: int, stage: StageSpec, spec: StagedSpec, layers: Layers) -> nn.Module:
        ratio = stage.bottleneck_ratio or spec.bottleneck_ratio
        inner = make_divisible(stage.width * ratio)
        blocks = nn.Sequential()
        for index in range(stage.depth):
            stride = stage.stride if index == 0 else 1
            groups = largest_groups(spec.groups, *grouped(inputs, inner, stage.width))
            made = block(
                inputs,
                stage.width,
                stride=stride,
                dilation=(stage.dilation, stage.dilation),
                bottle_ratio=ratio,
                group_size=inner // groups if groups > 1 else None,
                downsample="conv1x1",
                layers=layers.timm(),
            )
            if index == 0 and stride == 1 and stage.dilation > 1:
                made.shortcut = layers.conv(inputs, stage.width, 1, apply_act=False)
            if spec.stride_in == "1x1" and isinstance(made, byobnet.BottleneckBlock):
                made.conv1_1x1.conv.stride, made.conv2_kxk.conv.stride = (stride, stride), (1, 1)
            made.drop_path = DropPath(0.0)
            blocks.append(made)
            inputs = stage.width
        return blocks

    return build


def csp_stage(inputs: int, stage: StageSpec, spec: StagedSpec, layers: Layers) -> nn.Module:
    """Cross-stage partial stage of dark blocks: half of the channels passes by the blocks."""
    return cross_stage(
        inputs,
        stage.width,
        layers,
        depth=stage.depth,
        stride=stage.stride,
        dilation=stage.dilation,
        bottleneck_ratio=stage.bottleneck_ratio or spec.bottleneck_ratio,
        groups=spec.groups,
    )


def cross_stage(
    inputs: int,
    width: int,
    layers: Layers,
    *,
    depth: int,
    stride: int = 1,
    dilation: int = 1,
    bottleneck_ratio: float = 1.0,
    groups: int = 1,
) -> nn.Module:
    """timm's `CrossStage3`: 1x1 to `width`, blocks on one half, 1x1 over both halves."""
    half = max(1, width // 2)
    ratio = max(bottleneck_ratio, min(1.0, 8 / half))
    stage: nn.Module = cspnet.CrossStage3(
        inputs,
        width,
        stride,
        dilation,
        depth,
        block_ratio=half / width,
        bottle_ratio=ratio,
        expand_ratio=2 * half / width,
        groups=largest_groups(groups, inputs, width, half, round(half * ratio)),
        down_growth=True,
        block_fn=cspnet.DarkBlock,
        norm_layer=layers.norm_act,
        act_layer=None,
    )
    if stage.conv_down is None:  # timm calls it all the same
        stage.conv_down = nn.Identity()
    for block in stage.blocks.children():  # type: ignore[union-attr]
        block.drop_path = DropPath(0.0)
    add_missing_biases(stage)
    return stage


class Elan(nn.Module):
    """Efficient layer aggregation (Wang et al. 2022, in the form of YOLOv8): 1x1, a chain of residual dark blocks over
    the second half of the channels, and a 1x1 over both halves and the output of every block."""

    def __init__(self, inputs: int, stage: StageSpec, spec: StagedSpec, layers: Layers) -> None:
        super().__init__()
        half = max(1, stage.width // 2)
        ratio = max(stage.bottleneck_ratio or spec.bottleneck_ratio, min(1.0, 8 / half))
        groups = largest_groups(spec.groups, half, round(half * ratio))
        shrinks = stage.stride > 1
        self.down = layers.conv(inputs, stage.width, 3, stage.stride) if shrinks else nn.Identity()
        self.split = layers.conv(stage.width if shrinks else inputs, 2 * half, 1)
        self.blocks = nn.ModuleList(
            cspnet.DarkBlock(half, half, stage.dilation, ratio, groups, act_layer=None, norm_layer=layers.norm_act)
            for _ in range(stage.depth)
        )
        for block in self.blocks:
            block.drop_path = DropPath(0.0)
        self.join = layers.conv((2 + stage.depth) * half, stage.width, 1)
        add_missing_biases(self)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, inputs, H, W)` -> `(B, width, H / stride, W / stride)`."""
        kept = list(self.split(self.down(x)).chunk(2, dim=1))
        for block in self.blocks:
            kept.append(block(kept[-1]))
        joined: Tensor = self.join(torch.cat(kept, dim=1))
        return joined


BLOCKS: dict[str, StageBuilder] = {
    "basic": residual_stage(byobnet.BasicBlock, lambda inputs, inner, outputs: (inner, outputs)),
    "bottleneck": residual_stage(byobnet.BottleneckBlock, lambda inputs, inner, outputs: (inner,)),
    "dark": residual_stage(byobnet.DarkBlock, lambda inputs, inner, outputs: (inner, outputs)),
    "edge": residual_stage(byobnet.EdgeBlock, lambda inputs, inner, outputs: (inputs, inner)),
    "csp": csp_stage,
    "elan": Elan,
}
"""Name -> function (input channels, stage, backbone, layers) -> module."""
