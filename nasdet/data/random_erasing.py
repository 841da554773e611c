"""Random erasing (Zhong et al. 2020): a rectangle of the sample becomes the mean.

A box of which too little stays visible is dropped by the same rule as one that is cut by a crop, so that the detector
need not find hidden objects.
"""

from __future__ import annotations

import math

import numpy as np

from nasdet.data.geometry import CROWD, VISIBLE_SHARE, Region
from nasdet.data.records import Objects, Pixels

AREA = (0.02, 0.33)
"""Smallest and largest share of the canvas."""
ASPECT = (0.3, 3.3)
"""Smallest and largest height / width, drawn on the logarithm."""


def draw_region(rng: np.random.Generator, height: int, width: int) -> Region:
    """A random rectangle inside a canvas; a side that is too long is cut to it."""
    area = rng.uniform(*AREA) * height * width
    aspect = math.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
    tall = min(height, max(1, round(math.sqrt(area * aspect))))
    wide = min(width, max(1, round(math.sqrt(area / aspect))))
    return Region(int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1)), tall, wide)


def erase(canvas: Pixels, fill: Pixels, region: Region, objects: Objects) -> Objects:
    """Fill `region` of the canvas `(H, W, C)` with `fill` `(C,)`, in place.

    Returns:
        The objects that are still visible enough, whole: box and mask go on under the rectangle; crowds all stay.
    """
    top, left, height, width = region
    canvas[top : top + height, left : left + width] = fill
    hidden = np.array([left, top, left + width, top + height], np.float32)
    boxes = objects.boxes
    low, high = np.maximum(boxes[:, :2], hidden[:2]), np.minimum(boxes[:, 2:], hidden[2:])
    covered = (high - low).clip(min=0).prod(1)
    whole = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    keep = (whole - covered >= VISIBLE_SHARE * whole) | (objects.labels == CROWD)
    return objects.taken(keep)
