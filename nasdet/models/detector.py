"""`build_detector`: from a specification to a network.

One decision: the network takes stored images as they are (its first act is to normalise them) and gives boxes in canvas
pixels, so that training, export and prediction need nothing beside it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, TypeVar, overload

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torchvision.ops import batched_nms

from nasdet.errors import InputError, nearest
from nasdet.models.assigner import Targets
from nasdet.models.backbones import BACKBONES
from nasdet.models.boxes import to_boxes
from nasdet.models.heads import HEADS, Raw
from nasdet.models.init import initialise
from nasdet.models.layers import Layers
from nasdet.models.necks import NECKS
from nasdet.models.pointwise import avoid_strided_pointwise
from nasdet.models.standardization import standardize_weights
from nasdet.space.specs import DetectorSpec

T = TypeVar("T")
CANDIDATES = 1000  # scores per image that go into suppression


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
        self.backbone = _part(BACKBONES, spec.backbone.kind, "backbone")(
            spec.backbone, spec.input.channels, spec.neck.levels, layers
        )
        self.neck = _part(NECKS, spec.neck.kind, "neck")(
            self.backbone.channels, self.backbone.strides, spec.neck, layers
        )
        self.strides: tuple[int, ...] = self.neck.strides
        self.head = _part(HEADS, spec.head.kind, "head")(self.neck.channels, self.strides, spec.head, layers)
        self.register_buffer("mean", torch.tensor(spec.input.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.input.std).view(1, -1, 1, 1), persistent=False)
        self.drop_paths = [m for m in self.backbone.modules() if isinstance(m, DropPath)]

    @overload
    def forward(self, images: Tensor) -> Raw: ...
    @overload
    def forward(self, images: Tensor, targets: Targets) -> dict[str, Tensor]: ...
    def forward(self, images: Tensor, targets: Targets | None = None) -> Raw | dict[str, Tensor]:
        """Predict, or with `targets` compute the losses.

        Args:
            images: (B, C, H, W) in stored units, any dtype.
            targets: ground truth in canvas pixels.

        Returns:
            `Raw`, or scalars: "loss" to differentiate, its parts "cls", "box" and (with bins) "dfl", and "positives".
            The mean of the workers' gradients is the gradient over the whole batch.
        """
        images = (images.to(self.mean.dtype) - self.mean) / self.std
        dense = self.head(self.neck(self.backbone(images)))
        with _exact(images.device.type):
            return self.head.raw(dense) if targets is None else self.head.loss(dense, targets)

    def decode(self, raw: Raw) -> tuple[Tensor, Tensor]:
        """Boxes (B, A, 4) xyxy canvas pixels and scores (B, A, K) in 0..1; tensor operations only."""
        return to_boxes(raw.points, raw.distances), raw.scores.sigmoid()

    @torch.no_grad()
    def detect(
        self, images: Tensor, *, score_threshold: float = 0.001, iou_threshold: float = 0.6, limit: int = 100
    ) -> list[Detections]:
        """Boxes of each image after suppression within classes.

        Args:
            images: (B, C, H, W) in stored units.
            score_threshold: lower scores are dropped.
            iou_threshold: boxes of one class that overlap a better one more than this are dropped.
            limit: most boxes per image.
        """
        boxes, scores = self.decode(self(images))
        height, width = images.shape[-2:]
        boxes = torch.stack([boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)], dim=-1).flatten(
            -2
        )  # (B, A, 4): x0 y0 x1 y1
        best, index = scores.flatten(1).topk(min(CANDIDATES, scores[0].numel()), dim=1)  # (B, candidates)
        classes = scores.shape[-1]
        boxes = boxes.gather(1, (index // classes)[..., None].expand(-1, -1, 4))
        labels = index % classes
        found = zip(boxes, best, labels, strict=True)
        return [_suppress(*one, score_threshold, iou_threshold, limit) for one in found]

    def set_drop_path(self, rate: float) -> None:
        """Stochastic depth of the backbone's blocks: 0 at the first, rising linearly to `rate` at the last."""
        for number, block in enumerate(self.drop_paths):
            block.drop_prob = rate * number / max(1, len(self.drop_paths) - 1)


def build_detector(spec: DetectorSpec) -> Detector:
    """Build the network of `spec` with random weights on the default device (`torch.device("meta")` works).

    Weights start as `initialise` says, norms as identity. InputError names an unknown backbone, neck or head.
    """
    detector = Detector(spec)
    avoid_strided_pointwise(detector)
    if spec.norm.weight_standardization:
        standardize_weights(detector)
    initialise(detector)
    return detector.to(memory_format=torch.channels_last)


def _exact(device: str) -> AbstractContextManager[object]:
    """No autocast from here on; the meta device knows none."""
    available = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if available else nullcontext()


def _part(registry: dict[str, T], kind: str, where: str) -> T:
    if kind not in registry:
        raise InputError(f"unknown {where} {kind!r}", where=f"{where}.kind", remedy=nearest(kind, registry))
    return registry[kind]


def _suppress(
    boxes: Tensor, scores: Tensor, labels: Tensor, score_threshold: float, iou_threshold: float, limit: int
) -> Detections:
    """Drop low scores and duplicates of one image; scores (N,) fall."""
    count = int((scores > score_threshold).sum())
    boxes, scores, labels = boxes[:count], scores[:count], labels[:count]
    keep = batched_nms(boxes, scores, labels, iou_threshold)[:limit]
    return Detections(boxes[keep], scores[keep], labels[keep])
