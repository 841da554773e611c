"""Box arithmetic shared by assignment, losses and decoding.

One decision: a prediction is four distances from a point to the sides, so that no anchors exist and a box is two sums.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

EPS = 1e-9


def make_points(sizes: Sequence[tuple[int, int]], strides: Sequence[int], like: Tensor) -> tuple[Tensor, Tensor]:
    """Cell centres of all levels, row by row: points (A, 2) xy in canvas pixels, and the stride of each (A,).

    Args:
        sizes: (rows, columns) of each level.
        strides: pixels per cell of each level.
        like: gives device and dtype.
    """
    points, steps = [], []
    for (rows, columns), stride in zip(sizes, strides, strict=True):
        y = (torch.arange(rows, device=like.device, dtype=like.dtype) + 0.5) * stride
        x = (torch.arange(columns, device=like.device, dtype=like.dtype) + 0.5) * stride
        points.append(torch.stack([x.repeat(rows), y.repeat_interleave(columns)], dim=-1))
        steps.append(torch.full((rows * columns,), float(stride), device=like.device, dtype=like.dtype))
    return torch.cat(points), torch.cat(steps)


def to_boxes(points: Tensor, distances: Tensor) -> Tensor:
    """Points (..., 2) and distances (..., 4) left, top, right, bottom -> boxes (..., 4) xyxy."""
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=-1)


def to_distances(points: Tensor, boxes: Tensor) -> Tensor:
    """Inverse of `to_boxes`; negative where the point lies outside the box."""
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], dim=-1)


def area(boxes: Tensor) -> Tensor:
    """Areas (...,) of boxes (..., 4) xyxy."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes (..., 4) xyxy, broadcast against each other: (...,)."""
    width = torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])
    height = torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])
    overlap = width.clamp_(min=0) * height.clamp_(min=0)
    return overlap / (area(a) + area(b) - overlap + EPS)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al. 2019) of boxes (N, 4) xyxy pairwise by row: (N,), in -1..1."""
    inner = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    outer = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    overlap = inner.clamp(min=0).prod(-1)
    hull = outer.prod(-1) + EPS
    union = area(a) + area(b) - overlap + EPS
    return overlap / union - (hull - union) / hull
