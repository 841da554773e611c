"""Task-aligned assignment (Feng et al. 2021, TOOD): which point learns which box, and towards which score.

The whole batch is assigned at once over padded boxes (B, M, A), without gradient and without a loop.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor

from nasdet.models.boxes import EPS, iou
from nasdet.models.heads.base import IGNORE, Targets, at_least_one


class Assignment(NamedTuple):
    """The positive points of a batch, P of them, and where negatives count."""

    image: Tensor
    """(P,) index into the batch."""
    point: Tensor
    """(P,) index into the points."""
    boxes: Tensor
    """(P, 4) xyxy pixels to regress."""
    labels: Tensor
    """(P,) class."""
    scores: Tensor
    """(P,) score to learn: alignment, scaled so that the best point of each box learns the best IoU of its points."""
    negatives: Tensor
    """(B, A) bool: points outside all regions to ignore, which may learn that there is nothing."""


@dataclasses.dataclass(frozen=True)
class TaskAlignedAssigner:
    """Each box takes the `topk` points inside it with the highest score^alpha * IoU^beta."""

    topk: int = 10
    alpha: float = 1.0
    beta: float = 6.0

    @torch.no_grad()
    def __call__(self, scores: Tensor, boxes: Tensor, points: Tensor, targets: Targets) -> Assignment:
        """Assign.

        Args:
            scores: (B, A, K) predicted probabilities.
            boxes: (B, A, 4) predicted boxes, xyxy pixels.
            points: (A, 2) xy pixels.
            targets: ground truth; M may be 0.
        """
        # 1. Candidates of a box: the points inside it, or the nearest one. Padding and regions to ignore have none.
        truth, labels = at_least_one(targets, boxes.dtype)[:2]
        inside = inside_boxes(points, truth)  # (B, M, A)
        wanted = labels >= 0
        candidates = _with_nearest(inside, points, truth) & wanted[..., None]
        # 2. How well each point predicts each box already: its score for the class, and the IoU of its box.
        overlap = iou(truth[:, :, None], boxes[:, None])  # (B, M, A)
        alignment = self._alignment(scores, overlap, labels) * candidates
        # 3. Each box takes its best points; a point that several boxes take belongs to the one it overlaps most.
        chosen = self._choose(alignment, candidates)
        chosen &= _owner(chosen, overlap)
        # 4. What the positive points learn: box, class and a score by their alignment.
        quality = _quality(alignment, overlap, chosen)
        image, box, point = chosen.nonzero(as_tuple=True)
        ignored = (inside & (labels == IGNORE)[..., None]).any(1)
        return Assignment(image, point, truth[image, box], labels[image, box], quality[image, box, point], ~ignored)

    def _alignment(self, scores: Tensor, overlap: Tensor, labels: Tensor) -> Tensor:
        """score^alpha * IoU^beta of each point for each box's class: (B, M, A)."""
        index = labels.clamp(min=0)[:, :, None].expand(-1, -1, scores.shape[1])
        own = scores.transpose(1, 2).gather(1, index)
        return own.pow(self.alpha) * overlap.pow(self.beta)

    def _choose(self, alignment: Tensor, candidates: Tensor) -> Tensor:
        """The best `topk` candidates of every box: (B, M, A) bool."""
        # Candidates of alignment 0 still come before points that are no candidates.
        ranked = torch.where(candidates, alignment, -1.0)
        best = ranked.topk(min(self.topk, ranked.shape[-1]), dim=-1, sorted=False).indices
        return torch.zeros_like(candidates).scatter_(-1, best, True) & candidates


def inside_boxes(points: Tensor, truth: Tensor) -> Tensor:
    """Whether each point lies inside each box: (B, M, A)."""
    x, y = points.unbind(-1)
    left, top, right, bottom = truth[..., None].unbind(2)
    return (x > left) & (x < right) & (y > top) & (y < bottom)


def _with_nearest(inside: Tensor, points: Tensor, truth: Tensor) -> Tensor:
    """`inside` (B, M, A), and for boxes so small that no point lies inside them the point nearest to their centre."""
    missed = ~inside.any(-1)  # (B, M)
    centre = (truth[..., :2] + truth[..., 2:]) / 2
    nearest = torch.cdist(centre, points.expand(len(truth), -1, -1)).argmin(-1, keepdim=True)
    return inside | torch.zeros_like(inside).scatter_(-1, nearest, missed[..., None])


def _owner(chosen: Tensor, overlap: Tensor) -> Tensor:
    """For each point the box that overlaps its prediction most, among the boxes that chose it: (B, M, A) bool, one true
    entry per point, also where no box chose it."""
    best = torch.where(chosen, overlap, -1.0).argmax(1, keepdim=True)
    return torch.zeros_like(chosen).scatter_(1, best, True)


def _quality(alignment: Tensor, overlap: Tensor, chosen: Tensor) -> Tensor:
    """Score to learn: alignment, scaled per box so that its largest value is its largest IoU: (B, M, A)."""
    alignment = alignment * chosen
    top = alignment.amax(-1, keepdim=True)
    best_overlap = (overlap * chosen).amax(-1, keepdim=True)
    return alignment / (top + EPS) * best_overlap
