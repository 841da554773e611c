"""FCOS (Tian et al. 2019 and 2020): every point inside a box regresses its sides; centre-ness marks the good ones.

Points, ranges of the levels and losses are the second paper's, as in torchvision (distances in strides through ReLU,
GIoU, centre sampling, the smallest box wins), assigned for the whole batch at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from nasdet.models.boxes import area, giou, make_points, to_boxes, to_distances
from nasdet.models.heads.assigner import inside_boxes
from nasdet.models.heads.base import IGNORE, Candidates, HeadModule, Targets, at_least_one, no_autocast, upcast_half
from nasdet.models.heads.losses import focal_loss, worker_mean
from nasdet.models.heads.towers import SharedTower, level_sizes, prior_bias
from nasdet.models.layers import Layers
from nasdet.space.heads import FcosSpec

REACH = 4, 8
"""Strides from a point to the farthest side of a box of its level: more than the first, less than the second."""
START_DISTANCE = 1.0
"""Strides to each side before training, as exp(0) in the first paper; at 0 half of the ReLUs would have no gradient."""


class FcosHead(HeadModule):
    """Two towers that all levels share; the one of the boxes also predicts the centre-ness."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int], spec: FcosSpec, layers: Layers) -> None:
        super().__init__()
        self.spec, self.strides = spec, tuple(strides)
        self.cls = SharedTower(channels, 1, spec.classes, spec, layers)
        self.box = SharedTower(channels, 1, 5, spec, layers)

    def init_weights(self) -> None:
        """Scores start at 1%, distances at one stride, centre-ness at 0.5."""
        self.cls.start(prior_bias(self.spec.classes))
        self.box.start([START_DISTANCE] * 4 + [0.0])

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Levels -> logits (B, A, K), distances in strides and centre-ness (B, A, 5), points (A, 2) and strides (A,) in
        pixels."""
        logits, box = upcast_half(self.cls(features)), upcast_half(self.box(features))
        return logits, box, *make_points(level_sizes(features), self.strides, logits[:0, :0])

    def predict(self, features: Sequence[Tensor], size: tuple[int, int]) -> Candidates:
        """Every point of every level; its scores are the geometric mean of class score and centre-ness."""
        logits, box, points, strides = self(features)
        with no_autocast(logits.device):
            boxes = to_boxes(points, box[..., :4].relu() * strides[:, None])
            return Candidates(boxes, (logits.sigmoid() * box[..., 4:].sigmoid()).sqrt())

    def loss(self, features: Sequence[Tensor], targets: Targets, size: tuple[int, int]) -> dict[str, Tensor]:
        """Scalars "loss", its parts "cls" (focal), "box" (GIoU) and "centerness" (cross-entropy), all divided by the
        positives of all workers, and of points per image "positives" and "negatives"."""
        logits, box, points, strides = self(features)
        with no_autocast(logits.device):
            return self.dense_loss(logits, box, points, strides, targets)

    def dense_loss(
        self, logits: Tensor, box: Tensor, points: Tensor, strides: Tensor, targets: Targets
    ) -> dict[str, Tensor]:
        """`loss` from what `forward` gives, without autocast."""
        images, truth, labels = len(logits), *at_least_one(targets, logits.dtype)[:2]
        with torch.no_grad():
            matched = match_points(points, strides, truth, labels, self.spec.center_radius)
            image, point = (matched >= 0).nonzero(as_tuple=True)
            own, counted = matched[image, point], ~_ignored(points, truth, labels, matched)
            norm = worker_mean(torch.full((), float(len(image)), device=logits.device)).clamp(min=1.0)
            boxes = truth[image, own]
            wanted = centerness(to_distances(points[point], boxes))
        focal = focal_loss(
            logits, image, point, labels[image, own], counted, alpha=self.spec.focal_alpha, gamma=self.spec.focal_gamma
        )
        found = box[image, point]  # (P, 5)
        overlap = giou(to_boxes(points[point], found[:, :4].relu() * strides[point, None]), boxes)
        parts = {
            "cls": focal.sum() / norm,
            "box": (1 - overlap).sum() / norm,
            "centerness": F.binary_cross_entropy_with_logits(found[:, 4], wanted, reduction="sum") / norm,
        }
        positives = torch.tensor(len(image) / images, device=logits.device)
        counts = {"positives": positives, "negatives": counted.sum() / images - positives}
        total = torch.stack(list(parts.values())).sum()
        return {"loss": total, **{k: v.detach() for k, v in parts.items()}, **counts}


def match_points(points: Tensor, strides: Tensor, boxes: Tensor, labels: Tensor, radius: float) -> Tensor:
    """The smallest box whose middle part holds the point and whose size suits its level: (B, A), -1 none.

    Args:
        points: (A, 2) xy pixels, level by level.
        strides: (A,) pixels, rising.
        boxes: (B, M, 4) xyxy pixels.
        labels: (B, M) class, negative where nothing is to be learnt.
        radius: half the side of the middle part in strides of the level; 0: the whole box.
    """
    # Distance of every point from every centre, and half the sides of the boxes, by direction.
    half = (boxes[..., 2:] - boxes[..., :2])[:, :, None] / 2  # (B, M, 1, 2)
    away_x, away_y = (points - (boxes[..., :2] + boxes[..., 2:])[:, :, None] / 2).abs().unbind(-1)  # (B, M, A)
    half_x, half_y = half.unbind(-1)
    # A point learns a box if it lies in its middle part, and if the farthest side is in the range of the point's level.
    near = radius * strides if radius > 0 else torch.full_like(strides, torch.inf)
    low = torch.where(strides == strides[0], 0.0, REACH[0] * strides)
    high = torch.where(strides == strides[-1], torch.inf, REACH[1] * strides)
    farthest = torch.maximum(away_x + half_x, away_y + half_y)
    fits = (away_x < half_x.minimum(near)) & (away_y < half_y.minimum(near)) & (farthest > low) & (farthest < high)
    fits &= (labels >= 0)[..., None]
    # Of several boxes that fit the smallest is learnt.
    size, index = torch.where(fits, area(boxes)[..., None], torch.inf).min(1)
    return torch.where(size < torch.inf, index, -1)


def centerness(distances: Tensor) -> Tensor:
    """1 in the middle of a box, 0 at its sides: (N,) from distances (N, 4) left, top, right, bottom."""
    x, y = distances[:, 0::2], distances[:, 1::2]
    return ((x.amin(1) / x.amax(1)) * (y.amin(1) / y.amax(1))).sqrt()


def _ignored(points: Tensor, boxes: Tensor, labels: Tensor, matched: Tensor) -> Tensor:
    """Points (B, A) that learn nothing: no positives, in a region to ignore."""
    regions = labels == IGNORE
    if not regions.any():
        return torch.zeros_like(matched, dtype=torch.bool)
    return (inside_boxes(points, boxes) & regions[..., None]).any(1) & (matched < 0)
