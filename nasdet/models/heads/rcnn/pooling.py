"""Features of a region of interest, from the level that fits its size.

Levels are counted by their position (Lin et al. 2017, equation 1, from the first level's stride on), so that pyramids
whose last levels have equal strides (DetNet) use all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align, roi_pool

from nasdet.models.heads.base import no_autocast, upcast_half

CANONICAL_LEVEL = 4  # log2 of the stride of the level from which regions of the canonical size are pooled
SAMPLING_RATIO = 2


class RoiPool(nn.Module):
    """RoIAlign (He et al. 2017) or RoI pooling (Girshick 2015) over the levels of a pyramid."""

    def __init__(self, op: Literal["align", "pool"], size: int, strides: Sequence[int], canonical: int) -> None:
        """Choose the operation.

        Args:
            op: align: bilinear, 2x2 samples per cell; pool: largest value of whole cells.
            size: rows and columns of the result.
            strides: of the levels to pool from.
            canonical: side in pixels of the regions pooled from the level of stride 16.
        """
        super().__init__()
        self.op, self.size, self.strides, self.canonical = op, size, tuple(strides), canonical

    def forward(self, features: Sequence[Tensor], boxes: Tensor, images: Tensor) -> Tensor:
        """Features (S, C, size, size) of regions.

        Args:
            features: levels (B, C, h, w), at least as many as `strides`.
            boxes: (S, 4) xyxy canvas pixels, without gradient.
            images: (S,) which image of the batch each lies in.
        """
        first = features[0]
        if boxes.is_meta:  # which region is pooled from which level depends on its values
            return first.new_empty(len(boxes), first.shape[1], self.size, self.size)
        rois = torch.cat([images[:, None].to(boxes.dtype), boxes], dim=1)
        if len(self.strides) == 1:
            return self._pool(first, rois, self.strides[0])
        levels = self.levels(boxes)
        places = [torch.where(levels == number)[0] for number in range(len(self.strides))]
        pooled = [self._pool(x, rois[own], s) for x, own, s in zip(features, places, self.strides, strict=False)]
        # One gather puts the regions back into their order.
        return torch.cat(pooled)[torch.cat(places).argsort()]

    def levels(self, boxes: Tensor) -> Tensor:
        """Number of the level for each box (S, 4): (S,)."""
        sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(-1).sqrt()
        offset = CANONICAL_LEVEL - math.log2(self.strides[0])
        wanted = torch.floor(offset + torch.log2(sides / self.canonical) + 1e-6)
        return wanted.clamp(0, len(self.strides) - 1).long()

    def _pool(self, x: Tensor, rois: Tensor, stride: int) -> Tensor:
        """At least in float32: RoI pooling has no kernel for halves on the CPU, and boxes need their digits."""
        operation, more = (roi_align, (SAMPLING_RATIO,)) if self.op == "align" else (roi_pool, ())
        with no_autocast(x.device):
            pooled: Tensor = operation(upcast_half(x), upcast_half(rois), self.size, 1 / stride, *more)
        return pooled.to(x.dtype)
