"""Test-time augmentation: an image is seen at several scales and mirrored. One decision: each transformed image is
detected as an image of its own, its boxes go back to the canvas, and the suppression that ends a plain detection runs
once more over all of them, so that scale 1 alone is the plain detection."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from nasdet.errors import InputError
from nasdet.models import Detections, Detector
from nasdet.models.detector import LIMIT
from nasdet.trainers.rescale import rescaled

LARGEST = 8.0


@dataclasses.dataclass(frozen=True)
class Transforms:
    """How an image is transformed for the test.

    Attributes:
        scales: factors on both sides of the canvas, which are rounded to multiples of 32 pixels except at 1.
        flip: whether each of them is also mirrored left-right.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    def __post_init__(self) -> None:
        """Raises InputError: there is no scale, one twice, or one out of range."""
        wrong = [s for s in self.scales if not (math.isfinite(s) and 0 < s <= LARGEST)]
        if wrong or not self.scales or len(set(self.scales)) < len(self.scales):
            what = f"scales must be different numbers above 0 and at most {LARGEST:g}, got {list(self.scales)}"
            raise InputError(what, where="--scales", remedy="such as 0.75,1,1.5")

    @property
    def is_plain(self) -> bool:
        """Whether the image is seen untransformed only."""
        return self.scales == (1.0,) and not self.flip


def detect_augmented(detector: Detector, images: Tensor, transforms: Transforms) -> list[Detections]:
    """Detections of each image of (B, C, H, W), merged over the transforms; boxes in pixels of that canvas. A box keeps
    the mask that was found with it."""
    if transforms.is_plain:
        return detector.detect(images)
    found = []
    for scale in transforms.scales:
        scaled = rescaled(images, scale)
        found.append(_on_canvas(detector.detect(scaled), scaled, images, mirrored=False))
        if transforms.flip:
            found.append(_on_canvas(detector.detect(scaled.flip(-1)), scaled, images, mirrored=True))
    return [_merged(list(of_image), detector.spec.head.nms_iou) for of_image in zip(*found, strict=True)]


def _on_canvas(found: list[Detections], scaled: Tensor, images: Tensor, *, mirrored: bool) -> list[Detections]:
    """Detections in a transformed image, moved to the canvas of `images`."""
    width = scaled.shape[-1]
    factors = [images.shape[-1] / width, images.shape[-2] / scaled.shape[-2]]
    factor = torch.tensor(factors * 2, device=images.device)
    result = []
    for one in found:
        x0, y0, x1, y1 = one.boxes.unbind(-1)
        boxes = torch.stack([width - x1, y0, width - x0, y1], -1) if mirrored else one.boxes
        masks = one.masks.flip(-1) if mirrored and one.masks is not None else one.masks
        result.append(one._replace(boxes=boxes * factor, masks=masks))
    return result


def _merged(found: list[Detections], iou: float) -> Detections:
    boxes, scores, labels = (torch.cat([getattr(one, name) for one in found]) for name in ("boxes", "scores", "labels"))
    keep = batched_nms(boxes, scores, labels, iou)[:LIMIT]
    masks = [one.masks for one in found if one.masks is not None]
    return Detections(boxes[keep], scores[keep], labels[keep], torch.cat(masks)[keep] if masks else None)
