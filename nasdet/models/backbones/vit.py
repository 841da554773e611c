"""Plain vision transformer: a trunk of equal blocks, and four maps made of their outputs.

The trunk is a module of its own with timm's names, so that its published size can be counted and timm's checkpoints fit
it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from timm.layers import PatchEmbed
from torch import Tensor, nn
from torch.nn import functional as F

from nasdet.models.activation_checkpointing import run
from nasdet.models.backbones.windows import WindowBlock, resized
from nasdet.models.blocks import largest_groups
from nasdet.models.layers import FeatureModule, Layers
from nasdet.models.weight_init import DRAWS
from nasdet.space.timm_backbones import VitSpec


class VitBackbone(FeatureModule):
    """Trunk and maps of the wanted levels, each of `embed_dim` channels."""

    def __init__(self, spec: VitSpec, image_channels: int, wanted: Sequence[int], layers: Layers) -> None:
        """`wanted`: negative level numbers to put out, rising; blocks behind the last of them are not built."""
        super().__init__()
        levels = [4 + w for w in wanted]
        self.taps = [_last_block(spec, level) for level in levels]
        self.trunk = VitTrunk(spec, image_channels, depth=max(self.taps) + 1)
        self.maps = nn.ModuleList(_map(level, spec.embed_dim, layers) for level in levels)
        self.strides = tuple(spec.strides[level] for level in levels)
        self.channels = (spec.embed_dim,) * len(levels)

    def init_weights(self) -> None:
        """Trunk: normal of deviation 0.02 without tails, biases and relative positions 0; maps: He et al. 2015."""
        for layer in self.trunk.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                DRAWS["trunc_normal"](layer, layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        for layer in self.maps.modules():
            if isinstance(layer, nn.ConvTranspose2d):  # one of its taps reaches a pixel: fan in is the input channels
                nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.in_channels))
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, C, H, W), normalised, any size -> levels (B, embed_dim, ceil(H / stride), ceil(W / stride))."""
        outputs = self.trunk(images, self.taps)
        height, width = images.shape[-2:]
        levels = []
        for part, tap, stride in zip(self.maps, self.taps, self.strides, strict=True):
            x = part(outputs[tap].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last))
            levels.append(x[:, :, : -(-height // stride), : -(-width // stride)])
        return levels


class VitTrunk(nn.Module):
    """Patch embedding, positions and blocks, named as in timm's `VisionTransformer`."""

    def __init__(self, spec: VitSpec, image_channels: int, *, depth: int) -> None:
        """`depth`: how many of the blocks are built."""
        super().__init__()
        self.patch, self.grid = spec.patch, spec.grid
        self.patch_embed = PatchEmbed(None, spec.patch, image_channels, spec.embed_dim, output_fmt="NHWC")
        self.pos_embed: nn.Parameter | None = None
        if spec.position in ("absolute", "both"):
            self.pos_embed = nn.Parameter(torch.empty(1, spec.grid**2, spec.embed_dim))
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = nn.ModuleList(_block(spec, number) for number in range(depth))

    def forward(self, images: Tensor, taps: Sequence[int]) -> dict[int, Tensor]:
        """Images (B, C, H, W) -> what the blocks of the numbers `taps` put out, (B, rows, columns, embed_dim) each."""
        height, width = images.shape[-2:]
        x: Tensor = self.patch_embed(F.pad(images, (0, -width % self.patch, 0, -height % self.patch)))
        if self.pos_embed is not None:
            table = self.pos_embed.transpose(1, 2).unflatten(2, (self.grid, self.grid))
            x = x + resized(table, *x.shape[1:3]).permute(0, 2, 3, 1)
        outputs = {}
        for number, block in enumerate(self.blocks):
            x = run(block, x)
            if number in taps:
                outputs[number] = x
        return outputs


def _block(spec: VitSpec, number: int) -> WindowBlock:
    parts = min(spec.global_blocks, spec.depth)
    ends = {(part + 1) * spec.depth // parts - 1 for part in range(parts)}
    return WindowBlock(
        spec.embed_dim,
        largest_groups(spec.heads, spec.embed_dim),
        spec.mlp_ratio,
        window=0 if number in ends else spec.window,
        bias_grid=spec.grid if spec.position in ("relative", "both") else 0,
    )


def _last_block(spec: VitSpec, level: int) -> int:
    """Number of the block after which `level` (0 to 3) is taken."""
    parts = level + 1 if spec.taps == "spread" else 4
    return max(0, parts * spec.depth // 4 - 1)


def _map(level: int, width: int, layers: Layers) -> nn.Module:
    """From the resolution of the patches to that of the level: x4, x2, x1, x1/2."""
    if level == 0:
        norm = layers.norm_act(width, apply_act=False)
        return nn.Sequential(_twice(width, layers.bias), norm, nn.GELU(), _twice(width, True))
    if level == 1:
        return _twice(width, True)
    return nn.Identity() if level == 2 else nn.MaxPool2d(2, ceil_mode=True)


def _twice(width: int, bias: bool) -> nn.Module:
    return nn.ConvTranspose2d(width, width, 2, 2, bias=bias)
