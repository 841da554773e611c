"""What a task-aligned head learns from a trained one beside the labels: its scores at every point, and where both have
distributions of box sides, these (Zheng et al. 2022, localisation distillation).

One decision: teacher and pupil see the same canvas, and only levels of equal stride teach each other, so that every
point of one is a point of the other and networks of any width and depth fit together.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nasdet.models.heads.base import Lesson, upcast_half
from nasdet.models.heads.losses import worker_mean


def score_lesson(logits: Tensor, strides: Tensor, lesson: Lesson) -> Tensor:
    """Quality focal loss (Li et al. 2020) towards the teacher's scores, divided by the sum of its best ones: ().

    Args:
        logits: (B, A, K).
        strides: (A,) pixels, of each point.
        lesson: of the same images.
    """
    own, theirs = _shared(strides, lesson.strides), _shared(lesson.strides, strides)
    logits, wanted = logits[:, own], lesson.scores[:, theirs]
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    loss: Tensor = ((logits.sigmoid() - wanted).square() * entropy).sum()
    return loss / _total(_weights(wanted))


def side_lesson(sides: Tensor, strides: Tensor, bins: int, lesson: Lesson) -> Tensor:
    """Kullback-Leibler divergence of the distributions of box sides from the teacher's, the mean over points weighted
    by the teacher's best score: ().

    Args:
        sides: (B, A, 4 * bins) logits.
        strides: (A,) pixels, of each point.
        bins: of each side, as many as the teacher has.
        lesson: of the same images.
    """
    own, theirs = _shared(strides, lesson.strides), _shared(lesson.strides, strides)
    log_p = upcast_half(sides[:, own]).unflatten(-1, (4, bins)).log_softmax(-1)
    wanted = upcast_half(lesson.sides[:, theirs]).unflatten(-1, (4, bins)).log_softmax(-1)
    apart: Tensor = (wanted.exp() * (wanted - log_p)).sum(-1).mean(-1)  # (B, a)
    weights = _weights(lesson.scores[:, theirs])
    return (apart * weights).sum() / _total(weights)


def _weights(scores: Tensor) -> Tensor:
    """(B, a): how sure the teacher is that there is an object."""
    return scores.amax(-1)


def _total(weights: Tensor) -> Tensor:
    """Their sum, the mean over all workers: ()."""
    return worker_mean(weights.sum()).clamp(min=1.0)


def _shared(strides: Tensor, others: Tensor) -> Tensor:
    """Which points lie on a level that both have."""
    return torch.isin(strides, others)
