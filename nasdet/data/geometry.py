"""Scale, crop, flip and place an image on a canvas together with its boxes and masks.

The part that will be seen is cut out first and resized once, so that the cost never exceeds that of one canvas.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from nasdet.data.cache import resize
from nasdet.data.colour_jitter import Jitter
from nasdet.data.masks import Mask, Patch, Window
from nasdet.data.records import Boxes, Flags, Labels, Objects, Pixels, Target
from nasdet.data.trivial_augment import Trivial

VISIBLE_SHARE = 0.25
"""Share of its area: a box of which less is left after cropping is dropped."""
VISIBLE_SIDE = 2.0
"""Pixels; a box with a shorter side is dropped."""
CROWD = -2
"""Label of regions to be ignored."""


class Region(NamedTuple):
    """A rectangle of the canvas in whole pixels."""

    top: int
    left: int
    height: int
    width: int


class View(NamedTuple):
    """How an image is scaled, cropped, placed and flipped in a region. Positions are shares of the room that is left:
    0 is at the top or left, 1 at the bottom or right."""

    factor: float = 1.0
    """Pixels of the canvas per pixel of the image."""
    crop: tuple[float, float] = (0.0, 0.0)
    """Where the crop lies (down, right) if the scaled image is larger than the region."""
    place: tuple[float, float] = (0.0, 0.0)
    """Where the image lies (down, right) if it is smaller."""
    hflip: bool = False
    vflip: bool = False


def draw(
    canvas: Pixels, region: Region, image: Pixels, target: Target, view: View, colour: Jitter | Trivial | None
) -> Objects:
    """Draw an image into a region of the canvas.

    Args:
        canvas: `(H, W, C)` uint8 or float32, changed in place.
        region: the part of the canvas that is drawn on.
        image: `(h, w, C)` uint8 or uint16.
        target: its objects in image pixels.
        view: scale, crop, place and flips.
        colour: change of colour, or None.

    Returns:
        The objects that are still visible, with masks if `target` has them.
    """
    # 1. The part of the image that fits into the region at this scale, in image pixels, and where it lies.
    height, width = image.shape[:2]
    rows = min(height, math.ceil(region.height / view.factor))
    columns = min(width, math.ceil(region.width / view.factor))
    y, x = round(view.crop[0] * (height - rows)), round(view.crop[1] * (width - columns))
    # 2. That part at the scale of the canvas, recoloured and flipped.
    tall = min(region.height, max(1, round(rows * view.factor)))
    wide = min(region.width, max(1, round(columns * view.factor)))
    part = resize(image[y : y + rows, x : x + columns], tall, wide)
    if colour:
        part = colour.apply(part.astype(np.float32) if part.dtype == np.uint16 else part)
    part = part[:: -1 if view.vflip else 1, :: -1 if view.hflip else 1]
    # 3. Its place in the region.
    top = region.top + round(view.place[0] * (region.height - tall))
    left = region.left + round(view.place[1] * (region.width - wide))
    canvas[top : top + tall, left : left + wide] = part
    # 4. Boxes and masks take the same steps, by the scale of the rounded sizes, which differs a little from `factor`.
    scale = np.array([wide / columns, tall / rows] * 2, np.float32)
    boxes = (target.boxes - np.array([x, y, x, y], np.float32)) * scale
    labels = np.where(target.crowd, CROWD, target.labels)
    boxes, keep = visible(boxes, labels, tall, wide)
    boxes = flip_boxes(boxes, tall, wide, view) + np.array([left, top, left, top], np.float32)
    if target.masks is None:
        return Objects(boxes, labels[keep])
    window = Window(height, width, y, x, rows, columns, tall, wide)
    masks = (_show(mask, window, view, top, left) for mask in itertools.compress(target.masks, keep))
    return Objects(boxes, labels[keep], tuple(masks))


def _show(mask: Mask | None, window: Window, view: View, top: int, left: int) -> Patch | None:
    """The visible part of a mask in its place on the canvas; None if nothing of it is visible."""
    patch = mask.show(window) if mask is not None else None
    if patch is None:
        return None
    turned = patch.flipped(window.tall, window.wide, vertical=view.vflip, horizontal=view.hflip)
    return turned.moved(top, left)


def visible(boxes: Boxes, labels: Labels, height: int, width: int) -> tuple[Boxes, Flags]:
    """Boxes `(n, 4)` cut to `height` x `width`, without those of which too little is left. Regions to ignore stay as
    long as anything of them is left.

    Returns:
        The boxes that stay, `(k, 4)`, and flags `(n,)` that say which they are.
    """
    if not len(boxes):
        return boxes, np.zeros(0, bool)
    limit = np.array([width, height, width, height], np.float32)
    cut = np.clip(boxes, 0, limit)
    sides, before = cut[:, 2:] - cut[:, :2], boxes[:, 2:] - boxes[:, :2]
    enough = sides.prod(1) >= VISIBLE_SHARE * before.prod(1)
    keep = (sides >= VISIBLE_SIDE).all(1) & (enough | (labels == CROWD))
    return cut[keep], keep


def flip_boxes(boxes: Boxes, height: int, width: int, view: View) -> Boxes:
    """Boxes of the flipped `height` x `width` image."""
    if view.hflip:
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
    if view.vflip:
        boxes = np.stack([boxes[:, 0], height - boxes[:, 3], boxes[:, 2], height - boxes[:, 1]], 1)
    return boxes
