"""The project's one-stage head: class scores and boxes at every point of every level, and their loss.

One decision: predicted sides stay distributions over bins as long as possible. They become distances everywhere without
gradient, for assignment and detection, and with gradient at positive points only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from nasdet.models.boxes import make_points, to_boxes
from nasdet.models.heads.assigner import TaskAlignedAssigner
from nasdet.models.heads.base import Candidates, HeadModule, Lesson, Targets, no_autocast, upcast_half
from nasdet.models.heads.losses import distribution_focal_loss, giou_loss, quality_focal_loss, worker_mean
from nasdet.models.heads.teaching import score_lesson, side_lesson
from nasdet.models.heads.towers import Tower, level_sizes, prior_bias
from nasdet.models.layers import Layers
from nasdet.space.heads import TaskAlignedSpec

START_DISTANCE = 2.5  # strides from a point to each side of its box before training
CLS_WEIGHT, BOX_WEIGHT, DFL_WEIGHT = 2.0, 2.0, 0.5


class Dense(NamedTuple):
    """Undecoded predictions of all levels."""

    logits: Tensor
    """(B, A, K)."""
    sides: Tensor
    """(B, A, 4 * bins)."""
    points: Tensor
    """(A, 2) xy canvas pixels."""
    strides: Tensor
    """(A,) pixels."""


class TaskAlignedHead(HeadModule):
    """Anchor-free, decoupled towers, task-aligned assignment (TOOD), quality focal + GIoU (+ DFL) losses."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int], spec: TaskAlignedSpec, layers: Layers) -> None:
        super().__init__()
        self.spec, self.strides = spec, tuple(strides)
        self.cls = Tower(len(channels), channels[0], spec.classes, spec, layers)
        self.box = Tower(len(channels), channels[0], 4 * spec.bins, spec, layers)
        self.assigner = TaskAlignedAssigner()

    def init_weights(self) -> None:
        """Scores start at 1%, distances at 2.5 strides."""
        self.cls.start(prior_bias(self.spec.classes))
        self.box.start(_start_bias(self.spec.bins) * 4)

    def predict(self, features: Sequence[Tensor], size: tuple[int, int]) -> Candidates:
        """Every point of every level."""
        dense: Dense = self(features)
        with no_autocast(dense.points.device):
            return Candidates(self._boxes(dense), dense.logits.sigmoid())

    def loss(self, features: Sequence[Tensor], targets: Targets, size: tuple[int, int]) -> dict[str, Tensor]:
        """Scalars "loss", its parts "cls", "box", "dfl" (with bins) and "taught" (with a teacher), all weighted, and of
        points per image "positives" and "negatives", which learn that there is no box.

        All are divided by a sum over all workers, of the target scores or of the teacher's, so that the mean over
        workers of the gradients is that of the whole batch.
        """
        dense: Dense = self(features)
        with no_autocast(dense.points.device):
            return self.dense_loss(dense, targets)

    def forward(self, features: Sequence[Tensor]) -> Dense:
        """Levels -> undecoded predictions."""
        logits, sides = self.cls(features), self.box(features)
        points, steps = make_points(level_sizes(features), self.strides, upcast_half(logits[:0, :0]))
        return Dense(upcast_half(logits), sides, points, steps)

    def dense_loss(self, dense: Dense, targets: Targets) -> dict[str, Tensor]:
        """`loss` from undecoded predictions, without autocast."""
        with torch.no_grad():
            found = self.assigner(dense.logits.sigmoid(), self._boxes(dense), dense.points, targets)
            norm = worker_mean(found.scores.sum()).clamp(min=1.0)
        points, strides = dense.points[found.point], dense.strides[found.point]
        sides = dense.sides[found.image, found.point]
        parts = {
            "cls": CLS_WEIGHT * quality_focal_loss(dense.logits, found) / norm,
            "box": BOX_WEIGHT * giou_loss(points, self._distances(sides, strides), found) / norm,
        }
        if self.spec.bins > 1:
            bins = upcast_half(sides).unflatten(-1, (4, self.spec.bins))
            parts["dfl"] = DFL_WEIGHT * distribution_focal_loss(bins, points, strides, found) / norm
        if targets.lesson is not None:
            parts["taught"] = self._taught(dense, targets.lesson)
        total = torch.stack(list(parts.values())).sum()
        positives = torch.tensor(len(found.image) / len(dense.logits), device=total.device)
        negatives = (found.negatives.sum() - found.negatives[found.image, found.point].sum()) / len(dense.logits)
        counts = {"positives": positives, "negatives": negatives}
        return {"loss": total, **{k: v.detach() for k, v in parts.items()}, **counts}

    def lesson(self, features: Sequence[Tensor]) -> Lesson:
        """What another head of this kind can learn from this one."""
        dense: Dense = self(features)
        return Lesson(dense.logits.sigmoid(), dense.sides, dense.strides)

    def _taught(self, dense: Dense, lesson: Lesson) -> Tensor:
        """The loss of differing from the teacher: ()."""
        loss = CLS_WEIGHT * score_lesson(dense.logits, dense.strides, lesson)
        if self.spec.bins > 1 and lesson.sides.shape[-1] == dense.sides.shape[-1]:
            loss = loss + DFL_WEIGHT * side_lesson(dense.sides, dense.strides, self.spec.bins, lesson)
        return loss

    def _boxes(self, dense: Dense) -> Tensor:
        """Boxes (B, A, 4) xyxy of every point."""
        return to_boxes(dense.points, self._distances(dense.sides, dense.strides))

    def _distances(self, sides: Tensor, strides: Tensor) -> Tensor:
        """Predictions (..., A, 4 * bins) and strides (A,) -> distances (..., A, 4) in pixels."""
        sides = upcast_half(sides)
        if self.spec.bins == 1:
            return F.softplus(sides) * strides[:, None]
        share = sides.unflatten(-1, (4, self.spec.bins)).softmax(-1)
        steps = torch.arange(self.spec.bins, device=sides.device, dtype=sides.dtype)
        expected: Tensor = share @ steps
        return expected * strides[:, None]


def _start_bias(bins: int) -> list[float]:
    """Bias (bins,) under which the expected distance is `START_DISTANCE` strides, or what few bins can hold."""
    if bins == 1:
        return [math.log(math.expm1(START_DISTANCE))]
    target = min(START_DISTANCE, (bins - 1) / 2)
    low, high = 0.0, 20.0
    for _ in range(60):  # the mean of softmax(-slope * bin) falls as the slope rises
        slope = (low + high) / 2
        weights = [math.exp(-slope * i) for i in range(bins)]
        mean = sum(i * w for i, w in enumerate(weights)) / sum(weights)
        low, high = (slope, high) if mean > target else (low, slope)
    return [-slope * i for i in range(bins)]
