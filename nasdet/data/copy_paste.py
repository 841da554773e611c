"""Copy-paste (Dwibedi et al. 2017; Ghiasi et al. 2021): objects of one image appear on another.

One decision: what is pasted is what the annotation shows of an object, its mask where masks are learnt and else its
box, so that data sets of boxes gain too.
"""

from __future__ import annotations

import math

import numpy as np

from nasdet.data.geometry import CROWD, VISIBLE_SHARE
from nasdet.data.masks import Bitmap
from nasdet.data.records import Objects, Pixels

SEEN = 0.5
"""Share of a neighbour's box that the pasted pixels must show for it to count as pasted too."""


def paste(canvas: Pixels, objects: Objects, other: Pixels, found: Objects, rng: np.random.Generator) -> Objects:
    """Copy a random part of the objects of `other` onto the canvas, in place, each to where it lies.

    Args:
        canvas: `(H, W, C)`.
        objects: on the canvas.
        other: `(H, W, C)`, another sample.
        found: its objects.
        rng: which of them.

    Returns:
        The objects that are still visible enough, whole, crowds among them, and the pasted ones.
    """
    able = np.flatnonzero(found.labels != CROWD)
    if not len(able):
        return objects
    chosen = rng.permutation(able)[: rng.integers(1, len(able) + 1)]
    pasted = np.zeros(canvas.shape[:2], np.bool_)
    for index in chosen:
        _mark(pasted, found, int(index))
    canvas[pasted] = other[pasted]
    hidden, shown = _shares(objects, pasted), _shares(found, pasted)
    keep = (hidden <= 1 - VISIBLE_SHARE) | (objects.labels == CROWD)
    new = (shown >= SEEN) & (found.labels != CROWD)
    new[chosen] = True
    return Objects.join([objects.taken(keep), found.taken(new)])


def _mark(pasted: Bitmap, objects: Objects, index: int) -> None:
    """Add the pixels of one object."""
    patch = objects.masks[index] if objects.masks is not None else None
    if patch is None:
        pasted[_pixels(objects, index)] = True
    else:
        rows, columns = patch.pixels.shape
        pasted[patch.top : patch.top + rows, patch.left : patch.left + columns] |= patch.pixels


def _pixels(objects: Objects, index: int) -> tuple[slice, slice]:
    """Rows and columns of a box, every pixel that it touches."""
    left, top, right, bottom = objects.boxes[index].tolist()
    return slice(math.floor(top), math.ceil(bottom)), slice(math.floor(left), math.ceil(right))


def _shares(objects: Objects, pasted: Bitmap) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Share of each box that lies under pasted pixels."""
    return np.array([pasted[_pixels(objects, index)].mean() for index in range(len(objects.labels))])
