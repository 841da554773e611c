"""`build_detector`: from a specification to a network.

One decision: the network takes images in stored units, normalises them itself, and gives boxes in canvas pixels, so
that training, export and prediction need nothing else.
"""

from __future__ import annotations

from typing import overload

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torchvision.ops import batched_nms, clip_boxes_to_image

from nasdet.models.activation_checkpointing import set_recompute
from nasdet.models.backbones import BACKBONES
from nasdet.models.convolutions import avoid_strided_pointwise, standardize_weights
from nasdet.models.heads import HEADS, Candidates, Detections, Targets
from nasdet.models.heads.base import Lesson
from nasdet.models.heads.task_aligned import TaskAlignedHead
from nasdet.models.layers import Layers
from nasdet.models.necks import NECKS
from nasdet.models.weight_init import initialise
from nasdet.space.specs import DetectorSpec

CANDIDATES = 1000  # scores per image that go into suppression
LEAST_SCORE = 0.001
"""Lower scores are dropped in evaluation and in exported suppression."""
LIMIT = 100
"""Most boxes of an image, as COCO counts them."""


class Detector(nn.Module):
    """Backbone, neck and head of one specification.

    `strides` are the pixels per cell of the head's levels, from high to low resolution.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: DetectorSpec) -> None:
        super().__init__()
        layers = Layers.of(spec)
        self.spec = spec
        backbone, neck, head = BACKBONES[spec.backbone.kind], NECKS[spec.neck.kind], HEADS[spec.head.kind]
        self.backbone = backbone(spec.backbone, spec.input.channels, spec.neck.levels, layers)
        self.neck = neck(self.backbone.channels, self.backbone.strides, spec.neck, layers)
        self.strides: tuple[int, ...] = self.neck.strides
        self.head = head(self.neck.channels, self.strides, spec.head, layers)
        self.register_buffer("mean", torch.tensor(spec.input.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.input.std).view(1, -1, 1, 1), persistent=False)
        self.drop_paths = [m for m in self.backbone.modules() if isinstance(m, DropPath)]

    @overload
    def forward(self, images: Tensor) -> Candidates: ...
    @overload
    def forward(self, images: Tensor, targets: Targets) -> dict[str, Tensor]: ...
    def forward(self, images: Tensor, targets: Targets | None = None) -> Candidates | dict[str, Tensor]:
        """Predict, or with `targets` compute the losses.

        Args:
            images: (B, C, H, W) in stored units, any dtype.
            targets: ground truth in canvas pixels.

        Returns:
            `Candidates`, or scalars: "loss" to differentiate, its parts, "positives" and "negatives" per image.
        """
        features, size = self.features(images), (images.shape[-2], images.shape[-1])
        return self.head.predict(features, size) if targets is None else self.head.loss(features, targets, size)

    def features(self, images: Tensor) -> list[Tensor]:
        """The neck's levels of images in stored units."""
        levels: list[Tensor] = self.neck(self.backbone((images.to(self.mean.dtype) - self.mean) / self.std))
        return levels

    @torch.no_grad()
    def detect(self, images: Tensor, *, score_threshold: float = LEAST_SCORE, limit: int = LIMIT) -> list[Detections]:
        """Boxes of each image after suppression within classes, at the IoU that the head's specification states.

        Args:
            images: (B, C, H, W) in stored units.
            score_threshold: lower scores are dropped.
            limit: most boxes per image.
        """
        features, size = self.features(images), (images.shape[-2], images.shape[-1])
        candidates = self.head.predict(features, size)
        iou = self.spec.head.nms_iou
        found = suppress(candidates, size, iou, score_threshold, limit)
        return self.head.refine(features, found, size)

    @property
    def wants_masks(self) -> bool:
        """Whether the head learns masks: it then reads `Targets.masks` in its losses and gives `Detections.masks`."""
        return self.head.wants_masks

    @torch.no_grad()
    def lesson(self, images: Tensor) -> Lesson:
        """What another detector can learn from this one about images (B, C, H, W) in stored units. Only task-aligned
        heads have it."""
        assert isinstance(self.head, TaskAlignedHead)
        return self.head.lesson(self.features(images))

    def set_drop_path(self, rate: float) -> None:
        """Stochastic depth of the backbone's blocks: 0 at the first, rising linearly to `rate` at the last."""
        for number, block in enumerate(self.drop_paths):
            block.drop_prob = rate * number / max(1, len(self.drop_paths) - 1)

    def set_recompute(self, on: bool) -> None:
        """Whether the backbone computes its activations again for the gradient instead of keeping them: dense layers
        their concatenation and norms (Pleiss et al. 2017), others stage by stage (Chen et al. 2016)."""
        set_recompute(self.backbone, on)


def suppress(
    candidates: Candidates, size: tuple[int, int], iou: float, least: float = LEAST_SCORE, limit: int = LIMIT
) -> list[Detections]:
    """The best candidates of each image, cut to the canvas, without duplicates of the same class (NMS).

    Args:
        candidates: of every image.
        size: height and width of the canvas.
        iou: of two boxes of a class with a higher IoU, the one of lower score is dropped.
        least: lower scores are dropped.
        limit: most boxes per image.
    """
    return [_suppress(*one, least, iou, limit) for one in zip(*_best(candidates, size), strict=True)]


def build_detector(spec: DetectorSpec) -> Detector:
    """Build the network of `spec` with random weights on the default device (`torch.device("meta")` works).

    Weights start as `initialise` says, norms as identity.
    """
    detector = Detector(spec)
    avoid_strided_pointwise(detector)
    if spec.norm.weight_standardization:
        standardize_weights(detector)
    initialise(detector)
    return detector.to(memory_format=torch.channels_last)


def _best(candidates: Candidates, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """The best scores of each image with their boxes, clipped to the canvas, and labels: (B, n, 4), (B, n), (B, n)."""
    boxes, scores = candidates
    classes = scores.shape[-1]
    best, index = scores.flatten(1).topk(min(CANDIDATES, scores[0].numel()), dim=1)
    place = index // classes if boxes.ndim == 3 else index
    chosen = boxes.flatten(1, -2).gather(1, place[..., None].expand(-1, -1, 4))
    return clip_boxes_to_image(chosen, size), best, index % classes


def _suppress(
    boxes: Tensor, scores: Tensor, labels: Tensor, score_threshold: float, iou_threshold: float, limit: int
) -> Detections:
    """Drop low scores and duplicates of one image; scores (N,) fall."""
    count = int((scores > score_threshold).sum())
    boxes, scores, labels = boxes[:count], scores[:count], labels[:count]
    keep = batched_nms(boxes, scores, labels, iou_threshold)[:limit]
    return Detections(boxes[keep], scores[keep], labels[keep])
