"""The mask head (He et al. 2017): a 28 x 28 mask per class in each region.

A batch without a single mask to learn runs one region at weight 0, because norms refuse empty batches and workers wait
for the gradient of every parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from nasdet.models.heads.base import no_autocast, upcast_half
from nasdet.models.heads.rcnn.box_head import CONVS, Regions
from nasdet.models.heads.rcnn.pooling import RoiPool
from nasdet.models.layers import Layers
from nasdet.models.norm import activation
from nasdet.space.heads import RcnnSpec

POOLED = 14  # cells a side; a mask has twice as many


class MaskHead(nn.Module):
    """Four 3x3 convolutions, a transposed one that doubles the resolution, one mask per class and the background."""

    def __init__(self, channels: int, strides: Sequence[int], spec: RcnnSpec, layers: Layers) -> None:
        super().__init__()
        self.pool = RoiPool(spec.roi_op, POOLED, strides, spec.canonical_size)
        own = layers if spec.mask_norm else layers.without_norm()
        widths = [channels] + [spec.mask_width] * CONVS
        self.body = nn.Sequential(*(own.conv(i, o) for i, o in pairwise(widths)))
        self.body.append(nn.ConvTranspose2d(spec.mask_width, spec.mask_width, 2, 2))
        self.body.append(activation(layers.act))
        self.predict = nn.Conv2d(spec.mask_width, spec.classes + 1, 1)

    def forward(self, features: Sequence[Tensor], boxes: Tensor, images: Tensor) -> Tensor:
        """Logits (S, classes + 1, 28, 28) of regions (S, 4) in `images` (S,)."""
        logits: Tensor = self.predict(self.body(self.pool(features, boxes, images)))
        return logits

    def loss(self, features: Sequence[Tensor], regions: Regions, masks: Tensor) -> Tensor:
        """Mean cross-entropy over the cells of the masks of objects' regions, each in its own class: ().

        Args:
            features: levels.
            regions: drawn for the box head.
            masks: (B, M, H, W) bool canvas pixels; objects without one teach nothing here.
        """
        stated = masks.flatten(2).any(-1)  # (B, M)
        learns = (regions.labels > 0) & stated[regions.images, regions.objects]
        if not learns.any():
            return 0 * upcast_half(self(features, regions.boxes[:1], regions.images[:1])).sum()
        images, boxes, labels, objects, _ = (column[learns] for column in regions)
        logits = upcast_half(self(features, boxes, images))
        with no_autocast(logits.device):
            wanted = _targets(masks, boxes, images, objects, logits.shape[-1])
            return F.binary_cross_entropy_with_logits(of_class(logits, labels), wanted)


def of_class(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits (S, classes + 1, h, w), labels (S,) -> the masks of those classes (S, h, w)."""
    return logits[torch.arange(len(labels), device=labels.device), labels]


@torch.no_grad()
def _targets(masks: Tensor, boxes: Tensor, images: Tensor, objects: Tensor, size: int) -> Tensor:
    """The part of the objects' masks (B, M, H, W) inside each region (S, 4), resized: (S, size, size) in 0..1.

    `images` (S,) must rise. Image by image, so that few masks are in memory as floats.
    """
    parts = []
    for number, own in enumerate(masks):
        here = images == number
        used, which = objects[here].unique(return_inverse=True)
        rois = torch.cat([which[:, None].to(boxes.dtype), boxes[here]], dim=1)
        parts.append(roi_align(own[used][:, None].to(boxes.dtype), rois, (size, size))[:, 0])
    return torch.cat(parts)
