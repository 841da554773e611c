"""Losses of the task-aligned head: quality focal, GIoU, distribution focal.

One decision: box losses are computed at positive points only, and the classification loss is the sum over all points
as negatives plus a correction at the positives, so that no dense target is ever built.
"""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from nasdet.models.boxes import giou, to_boxes, to_distances
from nasdet.models.heads.assigner import Assignment


def worker_mean(total: Tensor) -> Tensor:
    """Mean over workers of a scalar (itself with one worker); as a normaliser it makes the mean of the workers'
    gradients the gradient over the whole batch."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        total = total.clone()
        dist.all_reduce(total)
        total /= dist.get_world_size()
    return total


def quality_focal_loss(logits: Tensor, found: Assignment) -> Tensor:
    """Sum of |score - target|^2 * cross-entropy (Li et al. 2020) over points and classes: ().

    Args:
        logits: (B, A, K).
        found: targets; every other entry learns 0, those in regions to ignore nothing.
    """
    probability = logits.sigmoid() * found.negatives[..., None]
    background = (probability.square() * F.softplus(logits)).sum()
    own = (found.image, found.point, found.labels)
    logit, negative = logits[own], probability[own]
    entropy = F.softplus(logit) - logit * found.scores
    positive = (logit.sigmoid() - found.scores).square() * entropy
    return background + (positive - negative.square() * F.softplus(logit)).sum()


def giou_loss(points: Tensor, distances: Tensor, found: Assignment) -> Tensor:
    """Sum over positives of (1 - GIoU) * score: (). Points (P, 2) and distances (P, 4) in pixels."""
    return ((1 - giou(to_boxes(points, distances), found.boxes)) * found.scores).sum()


def distribution_focal_loss(bins: Tensor, points: Tensor, strides: Tensor, found: Assignment) -> Tensor:
    """Sum over positives of the cross-entropy with the two bins beside the true distance, * score: ().

    Args:
        bins: (P, 4, bins) logits; bin i is a distance of i strides.
        points: (P, 2) pixels.
        strides: (P,) pixels.
        found: targets.
    """
    last = bins.shape[-1] - 1
    wanted = (to_distances(points, found.boxes) / strides[:, None]).clamp(0, last - 0.01)  # (P, 4)
    lower = wanted.floor()
    share = (wanted - lower)[..., None]
    log_p = F.log_softmax(bins, dim=-1)
    index = lower.long()[..., None]
    mixed = log_p.gather(-1, index) * (1 - share) + log_p.gather(-1, index + 1) * share
    return -(mixed.squeeze(-1).mean(-1) * found.scores).sum()
