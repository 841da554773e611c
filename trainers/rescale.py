"""Images at another size. One decision: they are resized on the device, after all that is done to them at full size, so
that training and evaluation see the same small images, and no cache is made for them."""

from __future__ import annotations

import dataclasses

from torch import Tensor
from torch.nn import functional as F

from nasdet.data import Batch

STEP = 32
"""Pixels that the sides of a rescaled canvas are multiples of."""


def rescaled(images: Tensor, scale: float) -> Tensor:
    """(B, C, H, W) with sides of about `scale` times as many pixels, in float32; at 1 as they are, also where the sides
    are no multiples of 32."""
    if scale == 1:
        return images
    size = tuple(max(STEP, round(side * scale / STEP) * STEP) for side in images.shape[-2:])
    return F.interpolate(images.float(), size, mode="bilinear", antialias=True)


def rescaled_batch(batch: Batch, scale: float) -> Batch:
    """The batch with images, boxes and masks at another size."""
    if scale == 1:
        return batch
    images = rescaled(batch.images, scale)
    (height, width), (old_height, old_width) = images.shape[-2:], batch.images.shape[-2:]
    boxes = batch.boxes * batch.boxes.new_tensor([width / old_width, height / old_height] * 2)
    masks = None if batch.masks is None else F.interpolate(batch.masks.float(), (height, width), mode="area") >= 0.5
    return dataclasses.replace(batch, images=images, boxes=boxes, masks=masks)
