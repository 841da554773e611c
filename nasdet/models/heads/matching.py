"""Which object an anchor, a proposal or a default box learns, and which of them are drawn for the loss."""

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
    """(B, N) index of the object in its image; of meaning for positives only."""
    state: Tensor
    """(B, N) `POSITIVE`: learns the object, `NEGATIVE`: learns that there is nothing, `UNUSED`: learns nothing."""


@torch.no_grad()
def match(boxes: Tensor, targets: Targets, *, positive: float, negative: float, rescue: bool = False) -> Matches:
    """Match every box with the object that it overlaps most.

    Args:
        boxes: (N, 4) the same of all images, or (B, N, 4), xyxy pixels.
        targets: at least one object for each image, which may be padding.
        positive: least IoU of a positive.
        negative: IoU below which a box is a negative, unless more than half of it lies in a region to ignore.
        rescue: whether the boxes that overlap an object most become positives even below `positive`.
    """
    each = boxes.expand(len(targets.boxes), -1, -1) if boxes.ndim == 2 else boxes
    # Image by image, because the overlaps of all anchors with all objects of a batch would not fit into memory.
    found = [
        _match_image(own, truth, labels, positive, negative, rescue)
        for own, truth, labels in zip(each, targets.boxes, targets.labels, strict=True)
    ]
    objects, state = zip(*found, strict=True)
    return Matches(torch.stack(objects), torch.stack(state))


def _match_image(
    boxes: Tensor, truth: Tensor, labels: Tensor, positive: float, negative: float, rescue: bool
) -> tuple[Tensor, Tensor]:
    """`match` for the boxes (N, 4), objects (M, 4) and labels (M,) of one image: objects (N,) and states (N,)."""
    # Overlaps (M, N); padding and regions to ignore are below every overlap, so that no box takes them.
    overlap = iou(truth[:, None], boxes).masked_fill((labels < 0)[:, None], -1.0)
    best, index = overlap.max(0)
    state = torch.where(best >= positive, POSITIVE, torch.where(best < negative, NEGATIVE, UNUSED))
    if rescue:
        # Several boxes may overlap an object equally: all of them are rescued, each for the object it overlaps most.
        highest = overlap.amax(1, keepdim=True)
        state = torch.where(((overlap == highest) & (highest > 0)).any(0), POSITIVE, state)
    return index, torch.where(is_ignored(boxes, truth, labels) & (state == NEGATIVE), UNUSED, state)


def is_ignored(boxes: Tensor, truth: Tensor, labels: Tensor) -> Tensor:
    """Whether more than half of the area of boxes (N, 4) lies in one region to ignore among (M, 4) of `truth`: (N,)."""
    regions = truth[labels == IGNORE]
    low = torch.maximum(regions[:, None, :2], boxes[:, :2])
    high = torch.minimum(regions[:, None, 2:], boxes[:, 2:])
    share = (high - low).clamp_(min=0).prod(-1) / area(boxes).clamp(min=1e-6)
    return (share > IGNORED_SHARE).any(0)


@torch.no_grad()
def draw(state: Tensor, count: int, share: float) -> Tensor:
    """Draw at most `count` positives and negatives of each image at random: (B, N) bool.

    The whole batch is drawn on its device, without a loop; the distribution is that of torchvision's sampler.

    Args:
        state: (B, N) of `Matches`.
        count: to draw; negatives take the places that positives leave.
        share: largest share of positives.
    """
    key = torch.rand(state.shape, device=state.device)
    # Positives first: those with the largest keys. Where an image has fewer, others fill topk and are masked out again.
    first = torch.where(state == POSITIVE, key, -1.0)
    most = min(int(count * share), state.shape[1])
    chosen = torch.zeros_like(first).scatter_(1, first.topk(most, dim=1).indices, 1.0) * (state == POSITIVE)
    # Then negatives by their keys, behind the chosen positives, which a bonus puts before every key in 0..1.
    priority = torch.where(state == NEGATIVE, key, -1.0) + 3 * chosen
    best = priority.topk(min(count, state.shape[1]), dim=1)
    return torch.zeros_like(state, dtype=torch.bool).scatter_(1, best.indices, best.values >= 0)
