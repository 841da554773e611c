"""Losses of one-stage heads: focal, quality focal, GIoU and distribution focal.

Box losses are computed at positive places only. Classification losses are the sum over all places as if they were
negatives, plus a correction at the positives, so that no dense target (B, A, K) is ever built.
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


def focal_loss(
    logits: Tensor, image: Tensor, place: Tensor, labels: Tensor, counted: Tensor, *, alpha: float, gamma: float
) -> Tensor:
    """Focal loss of hard labels (Lin et al. 2017), summed over places and classes of each image: (B,).

    Args:
        logits: (B, A, K).
        image: (P,) index of the positives into the batch.
        place: (P,) index of the positives into the places.
        labels: (P,) class of the positives.
        counted: (B, A) bool, the places that learn anything; all positives are among them.
        alpha: weight of the positive entries; the others weigh 1 - alpha.
        gamma: exponent of the error.
    """

    def as_negative(x: Tensor) -> Tensor:
        return (1 - alpha) * x.sigmoid().pow(gamma) * F.softplus(x)

    total = (as_negative(logits).sum(-1) * counted).sum(1)
    logit = logits[image, place, labels]  # (P,) the entries that are positive after all
    positive = alpha * (-logit).sigmoid().pow(gamma) * F.softplus(-logit)
    return total.index_add(0, image, positive - as_negative(logit))


def quality_focal_loss(logits: Tensor, found: Assignment) -> Tensor:
    """Sum of |score - target|^2 * cross-entropy (Li et al. 2020) over points and classes: ().

    Args:
        logits: (B, A, K).
        found: targets; every other entry learns 0, those in regions to ignore nothing.
    """
    probability = logits.sigmoid() * found.negatives[..., None]  # 0 in regions to ignore, where the loss is then 0
    background = (probability.square() * F.softplus(logits)).sum()
    own = (found.image, found.point, found.labels)  # the P entries with a target above 0
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
    # A true distance of 2.3 strides is 0.7 of bin 2 and 0.3 of bin 3; beyond the last bin counts as just below it.
    last = bins.shape[-1] - 1
    wanted = (to_distances(points, found.boxes) / strides[:, None]).clamp(0, last - 0.01)  # (P, 4)
    lower = wanted.floor()
    share = (wanted - lower)[..., None]
    log_p = F.log_softmax(bins, dim=-1)
    index = lower.long()[..., None]
    mixed = log_p.gather(-1, index) * (1 - share) + log_p.gather(-1, index + 1) * share
    return -(mixed.squeeze(-1).mean(-1) * found.scores).sum()
