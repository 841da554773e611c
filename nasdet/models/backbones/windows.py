"""Attention inside windows of a map of tokens, or over all of it.

Maps are padded to whole windows, and attention masks the padding out, so that a token near the border attends exactly
to the tokens of its window that exist.
"""

from __future__ import annotations

import torch
from timm.layers import DropPath
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F


class WindowBlock(Block):  # type: ignore[misc]
    """timm's block of a transformer on a map of tokens (B, H, W, C).

    `window` is the side of its windows in tokens, 0: one window holds the whole map.
    """

    def __init__(self, dim: int, heads: int, mlp_ratio: float, *, window: int, bias_grid: int = 0) -> None:
        """`bias_grid`: side of the map whose offsets have a learnt bias; 0: attention knows no positions."""
        super().__init__(dim, heads, mlp_ratio, qkv_bias=True)
        self.drop_path1, self.drop_path2 = DropPath(0.0), DropPath(0.0)
        self.window = window
        self.rel_pos = RelativeBias(heads, window or bias_grid) if bias_grid else None

    def forward(self, x: Tensor) -> Tensor:
        """`(B, H, W, C)` -> the same shape."""
        height, width = x.shape[1:3]
        rows, columns = (min(self.window or size, size) for size in (height, width))
        tokens, mask = partition(x, rows, columns), padding_mask(height, width, rows, columns, x)
        if mask is not None:
            mask = mask.repeat(x.shape[0], 1, 1, 1)
        if self.rel_pos is not None:
            bias = self.rel_pos(rows, columns, is_part=self.window > 0)
            mask = bias if mask is None else bias.masked_fill(~mask, float("-inf"))
        attended: Tensor = super().forward(tokens, attn_mask=mask)
        return merge(attended, height, width, rows, columns)


class RelativeBias(nn.Module):
    """A learnt number per head and offset between two tokens, added to their attention (Swin, BEiT); 0 at the start."""

    def __init__(self, heads: int, grid: int) -> None:
        """`grid`: side of the square whose offsets are learnt, in tokens."""
        super().__init__()
        self.table = nn.Parameter(torch.zeros(1, heads, 2 * grid - 1, 2 * grid - 1))

    def forward(self, rows: int, columns: int, *, is_part: bool) -> Tensor:
        """Bias (1, heads, N, N) of N = rows * columns tokens.

        Args:
            rows: of the window or map.
            columns: of the window or map.
            is_part: whether it is a part of the learnt square, else the offsets are interpolated to its size.
        """
        size, (high, wide) = (2 * rows - 1, 2 * columns - 1), self.table.shape[-2:]
        if is_part:
            top, left = (high - size[0]) // 2, (wide - size[1]) // 2
            table = self.table[:, :, top : top + size[0], left : left + size[1]]
        else:
            table = resized(self.table, *size)
        device = self.table.device
        y, x = torch.arange(rows, device=device), torch.arange(columns, device=device)
        down = (y[:, None] - y[None, :] + rows - 1)[:, None, :, None]
        right = (x[:, None] - x[None, :] + columns - 1)[None, :, None, :]
        index = (down * size[1] + right).reshape(-1)
        bias: Tensor = table.flatten(2)[:, :, index].unflatten(2, (rows * columns, rows * columns))
        return bias


def resized(table: Tensor, rows: int, columns: int) -> Tensor:
    """`(1, C, H, W)` -> `(1, C, rows, columns)`, bicubic; as it is if it has the size."""
    if table.shape[-2:] == (rows, columns):
        return table
    return F.interpolate(table, (rows, columns), mode="bicubic", align_corners=False)


def partition(x: Tensor, rows: int, columns: int) -> Tensor:
    """Map (B, H, W, C) -> windows (B * windows, rows * columns, C), padded with 0 below and on the right."""
    batch, height, width, channels = x.shape
    x = F.pad(x, (0, 0, 0, -width % columns, 0, -height % rows))
    x = x.reshape(batch, x.shape[1] // rows, rows, x.shape[2] // columns, columns, channels)
    return x.transpose(2, 3).reshape(-1, rows * columns, channels)


def merge(windows: Tensor, height: int, width: int, rows: int, columns: int) -> Tensor:
    """The inverse of `partition`: (B, height, width, C), without the padding."""
    down, right = -(-height // rows), -(-width // columns)
    x = windows.reshape(-1, down, right, rows, columns, windows.shape[-1]).transpose(2, 3)
    return x.reshape(-1, down * rows, right * columns, windows.shape[-1])[:, :height, :width]


def padding_mask(height: int, width: int, rows: int, columns: int, like: Tensor) -> Tensor | None:
    """Which tokens of each window exist, (windows, 1, 1, rows * columns) booleans; None: all."""
    if height % rows == 0 and width % columns == 0:
        return None
    ones = torch.ones(1, height, width, 1, dtype=torch.bool, device=like.device)
    return partition(ones, rows, columns)[:, None, None, :, 0]
