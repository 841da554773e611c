"""From the soft mask of a box to COCO's run-length code of the image.

A mask is resized once, from the head's grid to the pixels of the original image under its box (Mask R-CNN, section 3),
and is never in memory at the size of the image.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

Floats = npt.NDArray[np.floating]
Code = dict[str, Any]
"""`size` (height, width) and compressed `counts`, as pycocotools takes them."""
THRESHOLD = 0.5
"""Probability from which a pixel belongs to the object."""


def paste(masks: Floats, boxes: Floats, height: int, width: int) -> tuple[Code, ...]:
    """The code of each mask in an image.

    Args:
        masks: `(N, h, w)` in 0..1, each a grid of equal cells over its box.
        boxes: `(N, 4)` xyxy pixels of the image; they may leave it.
        height: of the image.
        width: of the image.
    """
    return tuple(_code(mask, box, height, width) for mask, box in zip(masks, boxes, strict=True))


def unpack(code: Code) -> npt.NDArray[np.uint8]:
    """The pixels `(height, width)` of a code, 0 or 1."""
    pixels: npt.NDArray[np.uint8] = coco_mask.decode(code)
    return pixels


def _code(mask: Floats, box: Floats, height: int, width: int) -> Code:
    x1, y1, x2, y2 = box.tolist()
    top, bottom = max(0, math.floor(y1)), min(height, math.ceil(y2))
    left, right = max(0, math.floor(x1)), min(width, math.ceil(x2))
    if bottom <= top or right <= left:
        return encode(np.zeros((0, 0), np.bool_), 0, 0, height, width)
    down = _weights(y1, y2, top, bottom, mask.shape[0])
    across = _weights(x1, x2, left, right, mask.shape[1])
    return encode(down @ mask @ across.T >= THRESHOLD, top, left, height, width)


def _weights(low: float, high: float, first: int, last: int, cells: int) -> npt.NDArray[np.float32]:
    """`(last - first, cells)`: weight of each cell of a grid over low..high in each of the pixels first..last,
    bilinear, 0 outside."""
    centres = (np.arange(first, last) + 0.5 - low) * (cells / max(high - low, 1e-6)) - 0.5
    distance = np.abs(centres[:, None] - np.arange(cells))
    weights: npt.NDArray[np.float32] = np.clip(1 - distance, 0, None).astype(np.float32)
    return weights


def encode(pixels: npt.NDArray[np.bool_], top: int, left: int, height: int, width: int) -> Code:
    """The code of a `height` x `width` image that is empty but for a rectangle `(h, w)` at `top`, `left`."""
    # COCO codes column by column the lengths of runs of empty and full pixels in turn, beginning with empty ones. Only
    # the columns of the rectangle are laid out; pixels before and behind them lengthen the first and last run.
    rows, columns = pixels.shape
    strip = np.zeros((columns, height), np.int8)
    strip[:, top : top + rows] = pixels.T
    edges = np.flatnonzero(np.diff(strip.ravel(), prepend=0, append=0)) + left * height
    lengths = np.diff(np.concatenate([[0], edges, [height * width]]))
    if len(edges) and not lengths[-1]:
        lengths = lengths[:-1]
    code: Code = coco_mask.frPyObjects({"size": [height, width], "counts": lengths.tolist()}, height, width)
    return code
