"""SSD's default boxes, and which of them learns which object (Liu et al. 2016, section 2.2).

The distance between the cells of a level follows from the sizes of the level and of the canvas and not from a nominal
stride, so that default boxes cover the canvas evenly also where a level's size was rounded or padded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nasdet.models.boxes import iou
from nasdet.models.heads.base import Targets
from nasdet.models.heads.matching import NEGATIVE, POSITIVE, UNUSED, Matches, is_ignored
from nasdet.space.heads import SsdSpec


def level_shapes(spec: SsdSpec, levels: int) -> list[list[tuple[float, float]]]:
    """(width, height) of the default boxes of each level as shares of the canvas: two squares, then each aspect ratio
    once wider than high and once higher than wide."""
    scales = level_scales(spec, levels)
    shapes = []
    for level in range(levels):
        scale, ratios = scales[level], spec.aspect_ratios[min(level, len(spec.aspect_ratios) - 1)]
        between = math.sqrt(scale * scales[level + 1])
        own = [(scale, scale), (between, between)]
        for root in map(math.sqrt, ratios):
            own += [(scale * root, scale / root), (scale / root, scale * root)]
        shapes.append(own)
    return shapes


def level_scales(spec: SsdSpec, levels: int) -> list[float]:
    """Scale of each level, and the one that would follow: `first_scale`, then from `min_scale` to `max_scale` in equal
    steps, rounded down to whole percents as SSD's own scripts do."""
    share = (spec.max_scale - spec.min_scale) / max(1, levels - 2)
    step = math.floor(100 * share + 1e-6) / 100
    return [spec.first_scale, *(spec.min_scale + step * i for i in range(levels))]


def make_default_boxes(
    shapes: Sequence[Sequence[tuple[float, float]]], sizes: Sequence[tuple[int, int]], canvas: tuple[int, int]
) -> Tensor:
    """Default boxes (A, 4) xyxy canvas pixels, level by level, row by row, cell by cell; not clipped.

    Args:
        shapes: of `level_shapes`.
        sizes: (rows, columns) of each level.
        canvas: (height, width) in pixels.
    """
    height, width = canvas
    boxes = []
    for own, (rows, columns) in zip(shapes, sizes, strict=True):
        y = (torch.arange(rows, device="cpu") + 0.5) * (height / rows)
        x = (torch.arange(columns, device="cpu") + 0.5) * (width / columns)
        centres = torch.stack([x.repeat(rows), y.repeat_interleave(columns)], dim=-1)[:, None]
        half = torch.tensor(own, device="cpu") * torch.tensor([width / 2, height / 2], device="cpu")
        boxes.append(torch.cat([centres - half, centres + half], dim=-1).flatten(0, 1))
    return torch.cat(boxes)


@torch.no_grad()
def match_default_boxes(defaults: Tensor, targets: Targets, match_iou: float) -> Matches:
    """Match default boxes (A, 4) xyxy pixels with the objects of a batch; there must be at least one, if only padding.

    A default box learns the object that it overlaps most if their IoU is at least `match_iou`. The best default box of
    an object learns it whatever its IoU; where it is the best one of several objects, it learns the one it overlaps
    most. Default boxes of which more than half lies in a region to ignore are no negatives.
    """
    boxes, labels = targets.boxes.to(defaults.dtype), targets.labels
    wanted = labels >= 0
    overlap = iou(boxes[:, :, None], defaults).masked_fill_(~wanted[..., None], -1.0)  # (B, M, A)
    # The best default box of every object gets a bonus above any overlap: it then wins against all objects for which
    # it is not the best one, and against the threshold.
    bonus = 2.0 * wanted[..., None].to(overlap.dtype)
    overlap.scatter_add_(-1, overlap.argmax(-1, keepdim=True), bonus)
    best, objects = overlap.max(1)
    ignored = torch.stack([is_ignored(defaults, *own) for own in zip(boxes, labels, strict=True)])
    state = torch.where(best >= match_iou, POSITIVE, torch.where(ignored, UNUSED, NEGATIVE))
    return Matches(objects, state)


def hardest_negatives(loss: Tensor, state: Tensor, per_positive: float) -> Tensor:
    """The negatives of greatest `loss` (B, A), up to `per_positive` times the positives of their image: (B, A) bool.

    `state` (B, A) is that of `Matches`.
    """
    negative = state == NEGATIVE
    # The first argsort gives the order, the second the rank of each box in it.
    rank = torch.where(negative, loss, -math.inf).argsort(1, descending=True).argsort(1)
    most = ((state == POSITIVE).sum(1, keepdim=True) * per_positive).floor()
    return (rank < most) & negative
