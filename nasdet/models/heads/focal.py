"""Focal loss of hard labels (Lin et al. 2017).

One decision: every entry is summed as background, and the positive ones are corrected afterwards, so that no dense
target is ever built.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def focal_loss(
    logits: Tensor, image: Tensor, place: Tensor, labels: Tensor, counted: Tensor, *, alpha: float, gamma: float
) -> Tensor:
    """Sum over places and classes of each image: (B,).

    Args:
        logits: (B, A, K).
        image: (P,) index of the positives into the batch.
        place: (P,) index of the positives into the places.
        labels: (P,) class of the positives.
        counted: (B, A) bool, the places that learn anything; all positives are among them.
        alpha: weight of the positive entries; the others weigh 1 - alpha.
        gamma: exponent of the error.
    """
    background = (_background(logits, alpha, gamma).sum(-1) * counted).sum(1)
    logit = logits[image, place, labels]
    positive = alpha * (-logit).sigmoid().pow(gamma) * F.softplus(-logit)
    return background.index_add(0, image, positive - _background(logit, alpha, gamma))


def _background(logits: Tensor, alpha: float, gamma: float) -> Tensor:
    return (1 - alpha) * logits.sigmoid().pow(gamma) * F.softplus(logits)
