"""RetinaNet (Lin et al. 2017): anchors on every level, focal loss over all of them.

Losses are torchvision's (each image is divided by its own positives, then the mean over images is taken, which needs no
sum over workers), computed over the whole batch at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nasdet.models.boxes import BoxCoder
from nasdet.models.heads.anchors import cell_anchors, place_anchors
from nasdet.models.heads.base import Candidates, HeadModule, Targets, at_least_one, no_autocast, upcast_half
from nasdet.models.heads.losses import focal_loss
from nasdet.models.heads.matching import POSITIVE, UNUSED, match
from nasdet.models.heads.towers import SharedTower, level_sizes, prior_bias
from nasdet.models.layers import Layers
from nasdet.space.heads import RetinaNetSpec


class RetinaNetHead(HeadModule):
    """Two towers that all levels share, `spec.anchors` anchors per cell, one sigmoid per class."""

    cells: Tensor

    def __init__(self, channels: Sequence[int], strides: Sequence[int], spec: RetinaNetSpec, layers: Layers) -> None:
        super().__init__()
        self.spec, self.strides, self.coder = spec, tuple(strides), BoxCoder()
        self.cls = SharedTower(channels, spec.anchors, spec.classes, spec, layers)
        self.box = SharedTower(channels, spec.anchors, 4, spec, layers)
        sizes = octave_sizes(strides, spec.anchor_scale, spec.anchors_per_octave)
        self.register_buffer("cells", cell_anchors(sizes, spec.anchor_ratios), persistent=False)

    def init_weights(self) -> None:
        """Scores start at 1%, boxes at their anchors."""
        self.cls.start(prior_bias(self.spec.classes))
        self.box.start([0.0] * 4)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Levels -> logits (B, A, K), shifts of the anchors (B, A, 4), anchors (A, 4) xyxy pixels."""
        anchors = place_anchors(level_sizes(features), self.strides, self.cells)
        return upcast_half(self.cls(features)), upcast_half(self.box(features)), anchors

    def predict(self, features: Sequence[Tensor], size: tuple[int, int]) -> Candidates:
        """Every anchor of every level, shifted."""
        logits, shifts, anchors = self(features)
        with no_autocast(logits.device):
            return Candidates(self.coder.decode(shifts, anchors), logits.sigmoid())

    def loss(self, features: Sequence[Tensor], targets: Targets, size: tuple[int, int]) -> dict[str, Tensor]:
        """Scalars "loss", its parts "cls" (focal) and "box" (L1 of the shifts), and of anchors per image "positives"
        and "negatives"."""
        logits, shifts, anchors = self(features)
        with no_autocast(logits.device):
            return self.dense_loss(logits, shifts, anchors, targets)

    def dense_loss(self, logits: Tensor, shifts: Tensor, anchors: Tensor, targets: Targets) -> dict[str, Tensor]:
        """`loss` from what `forward` gives, without autocast."""
        targets = at_least_one(targets, logits.dtype)
        boxes, labels = targets.boxes, targets.labels
        with torch.no_grad():
            positive, negative = self.spec.positive_iou, self.spec.negative_iou
            found = match(anchors, targets, positive=positive, negative=negative, rescue=True)
            image, place = (found.state == POSITIVE).nonzero(as_tuple=True)  # (P,) each
            box, counted = found.objects[image, place], found.state != UNUSED
            count = torch.bincount(image, minlength=len(boxes))
            share = 1 / count.clamp(min=1).to(logits.dtype) / len(boxes)  # (B,) weight of what an image's anchors lose
            wanted = self.coder.encode(boxes[image, box], anchors[place])
        focal = focal_loss(
            logits, image, place, labels[image, box], counted, alpha=self.spec.focal_alpha, gamma=self.spec.focal_gamma
        )
        distance = (shifts[image, place] - wanted).abs().sum(-1)
        parts = {"cls": (focal * share).sum(), "box": (distance * share[image]).sum()}
        positives = count.sum() / len(boxes)
        counts = {"positives": positives, "negatives": counted.sum() / len(boxes) - positives}
        return {"loss": parts["cls"] + parts["box"], **{k: v.detach() for k, v in parts.items()}, **counts}


def octave_sizes(strides: Sequence[int], scale: float, octave: int) -> list[list[int]]:
    """Sides of the square anchors of each level in whole pixels: `octave` sizes from `scale` strides to below twice as
    much, cut as torchvision cuts them."""
    return [[int(int(scale * stride) * 2 ** (i / octave)) for i in range(octave)] for stride in strides]
