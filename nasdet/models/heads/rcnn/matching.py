"""Which box an anchor or a proposal learns, and which of them are drawn for the loss.

One decision: a draw is two `topk` over random keys, so that a batch is drawn on the device without a loop or a
transfer; what is drawn is distributed as in torchvision's sampler.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nasdet.models.boxes import area, iou
from nasdet.models.heads.base import IGNORE, IGNORED_SHARE, Targets

POSITIVE, NEGATIVE, UNUSED = 1, 0, -1


class Matches(NamedTuple):
    """What each of N boxes of B images learns."""

    objects: Tensor
    """(B, N) number of the object it overlaps most."""
    state: Tensor
    """(B, N) 1 positive, 0 negative, -1 neither."""


@torch.no_grad()
def match(boxes: Tensor, targets: Targets, *, positive: float, negative: float, rescue: bool = False) -> Matches:
    """Match every box with the object that it overlaps most.

    Image by image, because anchors times objects of a whole batch would not fit.

    Args:
        boxes: (N, 4) of all images, or (B, N, 4), xyxy pixels.
        targets: at least one object, which may be padding.
        positive: least IoU of a positive.
        negative: IoU below which a box is a negative, unless more than half of it lies in a region to ignore.
        rescue: an object also takes the boxes that overlap it most, however little.
    """
    each = boxes.expand(len(targets.boxes), -1, -1) if boxes.ndim == 2 else boxes
    found = [
        _match_image(own, truth, labels, positive, negative, rescue)
        for own, truth, labels in zip(each, targets.boxes, targets.labels, strict=True)
    ]
    objects, state = zip(*found, strict=True)
    return Matches(torch.stack(objects), torch.stack(state))


def _match_image(
    boxes: Tensor, truth: Tensor, labels: Tensor, positive: float, negative: float, rescue: bool
) -> tuple[Tensor, Tensor]:
    overlap = iou(truth[:, None], boxes)  # (M, N)
    overlap = overlap.masked_fill((labels < 0)[:, None], -1.0)
    best, index = overlap.max(0)
    state = torch.where(best >= positive, POSITIVE, torch.where(best < negative, NEGATIVE, UNUSED))
    if rescue:
        highest = overlap.amax(1, keepdim=True)
        state = torch.where(((overlap == highest) & (highest > 0)).any(0), POSITIVE, state)
    ignored = (_share_inside(boxes, truth) > IGNORED_SHARE) & (labels == IGNORE)[:, None]
    return index, torch.where(ignored.any(0) & (state == NEGATIVE), UNUSED, state)


def _share_inside(boxes: Tensor, regions: Tensor) -> Tensor:
    """Share of each box's area that lies in each region: (M, N)."""
    low = torch.maximum(regions[:, None, :2], boxes[:, :2])
    high = torch.minimum(regions[:, None, 2:], boxes[:, 2:])
    return (high - low).clamp_(min=0).prod(-1) / area(boxes).clamp(min=1e-6)


@torch.no_grad()
def draw(state: Tensor, count: int, share: float) -> Tensor:
    """Draw at most `count` positives and negatives of each image: (B, N) bool.

    Args:
        state: (B, N) of `Matches`.
        count: to draw; negatives fill what positives leave.
        share: largest share of positives.
    """
    key = torch.rand(state.shape, device=state.device)
    first = torch.where(state == POSITIVE, key, -1.0)
    most = min(int(count * share), state.shape[1])
    chosen = torch.zeros_like(first).scatter_(1, first.topk(most, dim=1).indices, 1.0) * (state == POSITIVE)
    priority = torch.where(state == NEGATIVE, key, -1.0) + 3 * chosen
    best = priority.topk(min(count, state.shape[1]), dim=1)
    return torch.zeros_like(state, dtype=torch.bool).scatter_(1, best.indices, best.values >= 0)
