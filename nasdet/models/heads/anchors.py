"""Anchors of RetinaNet and which of them learns which box.

One decision: anchors are torchvision's (sizes cut and sides rounded to whole pixels, the first one centred on the
canvas' corner), so that its published figures and checkpoints mean the same here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator

from nasdet.models.heads.base import IGNORE, IGNORED_SHARE

BACKGROUND, BETWEEN = -1, -2


def cell_anchors(strides: Sequence[int], scale: float, octave: int, ratios: Sequence[float]) -> Tensor:
    """Anchors around the origin: (levels, len(ratios) * octave, 4) xyxy pixels.

    Args:
        strides: pixels per cell of each level.
        scale: side of a level's smallest anchor in strides.
        octave: sizes per doubling.
        ratios: height over width.
    """
    sizes = tuple(tuple(int(int(scale * s) * 2 ** (i / octave)) for i in range(octave)) for s in strides)
    generator = AnchorGenerator(sizes, (tuple(ratios),) * len(sizes))
    return torch.stack(generator.cell_anchors).to(torch.get_default_device())


def place_anchors(sizes: Sequence[tuple[int, int]], strides: Sequence[int], cells: Tensor) -> Tensor:
    """Anchors of all levels, row by row: (A, 4) xyxy pixels.

    Args:
        sizes: (rows, columns) of each level.
        strides: pixels per cell of each level.
        cells: of `cell_anchors`; gives device and dtype.
    """
    anchors = []
    for (rows, columns), stride, own in zip(sizes, strides, cells, strict=True):
        y = torch.arange(rows, device=cells.device, dtype=cells.dtype) * stride
        x = torch.arange(columns, device=cells.device, dtype=cells.dtype) * stride
        corner = torch.stack([x.repeat(rows), y.repeat_interleave(columns)], dim=-1)
        anchors.append((corner.repeat(1, 2)[:, None] + own).flatten(0, 1))
    return torch.cat(anchors)


def match_anchors(anchors: Tensor, boxes: Tensor, labels: Tensor, positive: float, negative: float) -> Tensor:
    """Which box of one image each anchor learns: (A,), else `BACKGROUND` or `BETWEEN` (learns nothing).

    An anchor learns the box it overlaps most if their IoU is at least `positive`, or if no other anchor overlaps some
    box more. Those with an IoU of at least `negative`, and those that lie in a region to ignore, are no background.

    Args:
        anchors: (A, 4) xyxy.
        boxes: (M, 4) xyxy, M at least 1.
        labels: (M,) class, -1 padding, -2 region to ignore.
        positive: least IoU.
        negative: least IoU.
    """
    overlap, own, other = _overlap(boxes, anchors)
    iou = (overlap / (own + other - overlap)).masked_fill_((labels < 0)[:, None], -1.0)
    best, index = iou.max(0)
    highest = iou.amax(1, keepdim=True)
    chosen = (best >= positive) | ((iou == highest) & (highest > 0)).any(0)
    between = best >= negative
    regions = labels == IGNORE
    if regions.any():
        between |= (overlap[regions] >= IGNORED_SHARE * other).any(0)
    return torch.where(chosen, index, torch.where(between, BETWEEN, BACKGROUND))


def _overlap(boxes: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Areas of the intersections (M, A), of the boxes (M, 1) and of the anchors (A,)."""
    x0, y0, x1, y1 = boxes[:, :, None].unbind(1)
    u0, v0, u1, v1 = anchors.T.contiguous().unbind(0)
    width = (torch.minimum(x1, u1) - torch.maximum(x0, u0)).clamp_(min=0)
    height = (torch.minimum(y1, v1) - torch.maximum(y0, v0)).clamp_(min=0)
    return width.mul_(height), (x1 - x0) * (y1 - y0), (u1 - u0) * (v1 - v0)
