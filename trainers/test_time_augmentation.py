"""Testing an image at several scales and mirrored. One decision: every view is detected as an image of its own, its
boxes go back to the canvas, and the suppression that ends a plain detection runs once more over all of them, so that
one view of scale 1 is the plain detection."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from nasdet.errors import InputError
from nasdet.models import Detections, Detector
from nasdet.models.detector import LIMIT
from nasdet.trainers.rescale import rescaled

LARGEST = 8.0


@dataclasses.dataclass(frozen=True)
class Views:
    """The views in which an image is tested.

    Attributes:
        scales: factors on both sides of the canvas, which are rounded to multiples of 32 pixels except at 1.
        flip: each of them mirrored left-right as well.
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
        """Whether the image is seen as it is and no other way."""
        return self.scales == (1.0,) and not self.flip


def detect_views(detector: Detector, images: Tensor, views: Views) -> list[Detections]:
    """Detections of each image of (B, C, H, W), merged over the views; boxes in pixels of that canvas. A box keeps the
    mask of the view that it was found in."""
    if views.is_plain:
        return detector.detect(images)
    found = [_unseen(detector.detect(view), view, images, mirrored) for view, mirrored in _views(images, views)]
    return [_merged(list(of_image), detector.spec.head.nms_iou) for of_image in zip(*found, strict=True)]


def _views(images: Tensor, views: Views) -> Iterator[tuple[Tensor, bool]]:
    for scale in views.scales:
        view = rescaled(images, scale)
        yield view, False
        if views.flip:
            yield view.flip(-1), True


def _unseen(found: list[Detections], view: Tensor, images: Tensor, mirrored: bool) -> list[Detections]:
    """Boxes on the canvas of `images`."""
    width = view.shape[-1]
    factors = [images.shape[-1] / width, images.shape[-2] / view.shape[-2]]
    scale = torch.tensor(factors * 2, device=images.device)
    result = []
    for one in found:
        x0, y0, x1, y1 = one.boxes.unbind(-1)
        boxes = torch.stack([width - x1, y0, width - x0, y1], -1) if mirrored else one.boxes
        masks = one.masks.flip(-1) if mirrored and one.masks is not None else one.masks
        result.append(one._replace(boxes=boxes * scale, masks=masks))
    return result


def _merged(views: list[Detections], iou: float) -> Detections:
    boxes, scores, labels = (torch.cat([getattr(v, name) for v in views]) for name in ("boxes", "scores", "labels"))
    keep = batched_nms(boxes, scores, labels, iou)[:LIMIT]
    masks = [v.masks for v in views if v.masks is not None]
    return Detections(boxes[keep], scores[keep], labels[keep], torch.cat(masks)[keep] if masks else None)
