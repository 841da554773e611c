"""The interface between a detector and its head.

One decision: a head takes the neck's levels and gives either losses or candidates (boxes and scores before
suppression), so that one-stage and two-stage heads are trained, measured and exported in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

PADDING = -1
IGNORE = -2
IGNORED_SHARE = 0.5
"""Share of its area: an anchor, proposal or default box of which more lies in a region to ignore is no negative."""


class Lesson(NamedTuple):
    """What a trained detector with a task-aligned head says of the images of a batch, without gradient."""

    scores: Tensor
    """(B, A, K) in 0..1."""
    sides: Tensor
    """(B, A, 4 * bins) logits."""
    strides: Tensor
    """(A,) pixels, of each point."""


class Targets(NamedTuple):
    """Ground truth of a batch, padded to the same number of boxes, and what a teacher says of it."""

    boxes: Tensor
    """(B, M, 4) xyxy canvas pixels."""
    labels: Tensor
    """(B, M) class, -1 padding, -2 a region in which nothing is a false positive (crowd)."""
    masks: Tensor | None = None
    """(B, M, H, W) bool canvas pixels, for heads that want them. Empty where padded, and where an object has no mask to
    learn from but its box."""
    lesson: Lesson | None = None
    """For task-aligned heads; None: there is no teacher."""


class Candidates(NamedTuple):
    """Boxes and scores before suppression, at A places (points, anchors or proposals) of each image."""

    boxes: Tensor
    """(B, A, 4) xyxy canvas pixels, or (B, A, K, 4) where every class has its own box."""
    scores: Tensor
    """(B, A, K) in 0..1, without a background class."""


class Detections(NamedTuple):
    """Boxes found in one image, best first."""

    boxes: Tensor
    """(N, 4) xyxy canvas pixels."""
    scores: Tensor
    """(N,) in 0..1."""
    labels: Tensor
    """(N,) class."""
    masks: Tensor | None = None
    """(N, h, w) in 0..1 from heads that find masks: a grid of equal cells over each box (28 x 28 in Mask R-CNN), not
    over the canvas; `evaluation.paste` resizes it once, to original pixels."""

    def taken(self, rows: Tensor) -> Detections:
        """The detections at `rows`, which are indices or flags."""
        masks = None if self.masks is None else self.masks[rows]
        return Detections(self.boxes[rows], self.scores[rows], self.labels[rows], masks)


class HeadModule(nn.Module):
    """Base of all heads; `features` are the neck's levels (B, C, h, w), `size` is the canvas' (height, width).

    A head may be called under autocast and computes losses and boxes under `no_autocast`.
    """

    wants_masks: bool = False
    """Whether `Targets.masks` are needed for training."""

    def init_weights(self) -> None:
        """Set the predicting layers; called after all convolutions were initialised."""

    def loss(self, features: Sequence[Tensor], targets: Targets, size: tuple[int, int]) -> dict[str, Tensor]:
        """Scalars: "loss" with gradient, its parts without, "positives" and "negatives" per image."""
        raise NotImplementedError

    def predict(self, features: Sequence[Tensor], size: tuple[int, int]) -> Candidates:
        """Candidates of every image; tensor operations only."""
        raise NotImplementedError

    def refine(self, features: Sequence[Tensor], found: list[Detections], size: tuple[int, int]) -> list[Detections]:
        """Add what is computed for the boxes that are left after suppression, such as masks; here nothing."""
        return found


def no_autocast(device: torch.device) -> AbstractContextManager[object]:
    """A block in which autocast is off; the meta device has none."""
    available = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if available else nullcontext()


def upcast_half(x: Tensor) -> Tensor:
    """float16 and bfloat16 as float32; other types stay."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def at_least_one(targets: Targets, dtype: torch.dtype) -> Targets:
    """Targets with boxes in `dtype` and at least one column: if the batch has no box (M = 0), one of padding."""
    boxes, labels, masks = targets.boxes, targets.labels, targets.masks
    boxes = boxes.to(dtype)
    if boxes.shape[1]:
        return targets._replace(boxes=boxes)
    boxes, labels = boxes.new_zeros(len(boxes), 1, 4), labels.new_full((len(labels), 1), PADDING)
    masks = None if masks is None else masks.new_zeros(len(masks), 1, *masks.shape[2:])
    return Targets(boxes, labels, masks, targets.lesson)
