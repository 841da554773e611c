"""SSD's default boxes, and which of them learns which object (Liu et al. 2016, section 2.2).

One decision: a level's cells follow from its size and the canvas', not from a nominal stride, so that default boxes
cover the canvas evenly whatever rounding and padding made of its levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nasdet.models.boxes import EPS, area, iou
from nasdet.models.heads.base import IGNORE, IGNORED_SHARE, Targets
from nasdet.space.heads import SsdSpec


def level_shapes(spec: SsdSpec, levels: int) -> list[list[tuple[float, float]]]:
    """(width, height) of the default boxes of each level as shares of the canvas: two squares, then each aspect ratio
    lying and upright."""
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


class Match(NamedTuple):
    """What each default box learns."""

    positive: Tensor
    """(B, A) bool: learns an object."""
    box: Tensor
    """(B, A) index of the object that the default box overlaps most or is the best one of."""
    negative: Tensor
    """(B, A) bool: may learn that there is nothing."""


@torch.no_grad()
def match_default_boxes(defaults: Tensor, targets: Targets, match_iou: float) -> Match:
    """Match default boxes (A, 4) with the objects of a batch; there must be at least one, if only padding.

    The best default box of an object learns it whatever its IoU; where it is the best one of several objects, it
    learns the one it overlaps most.
    """
    boxes, labels = targets.boxes.to(defaults.dtype), targets.labels
    wanted = labels >= 0
    overlap = iou(boxes[:, :, None], defaults).masked_fill_(~wanted[..., None], -1.0)  # (B, M, A)
    bonus = 2.0 * wanted[..., None].to(overlap.dtype)  # more than any overlap
    overlap.scatter_add_(-1, overlap.argmax(-1, keepdim=True), bonus)
    best, box = overlap.max(1)
    positive = best >= match_iou
    return Match(positive, box, ~positive & ~_ignored(defaults, boxes, labels == IGNORE))


def _ignored(defaults: Tensor, boxes: Tensor, region: Tensor) -> Tensor:
    """Whether a region to ignore, (B, M) of `boxes`, holds most of a default box: (B, A)."""
    some = region.any(0)  # most batches have none
    boxes, region = boxes[:, some], region[:, some]
    low = torch.maximum(boxes[:, :, None, :2], defaults[:, :2])
    high = torch.minimum(boxes[:, :, None, 2:], defaults[:, 2:])
    share = (high - low).clamp(min=0).prod(-1) / (area(defaults) + EPS)
    return ((share > IGNORED_SHARE) & region[..., None]).any(1)


def hardest_negatives(loss: Tensor, match: Match, per_positive: float) -> Tensor:
    """The negatives of greatest `loss` (B, A), up to `per_positive` times the positives of their image: (B, A) bool."""
    ranked = torch.where(match.negative, loss, -math.inf)
    rank = ranked.argsort(1, descending=True).argsort(1)
    most = (match.positive.sum(1, keepdim=True) * per_positive).floor()
    return (rank < most) & match.negative
