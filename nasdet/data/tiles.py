"""How a large image is cut into overlapping tiles, and which tile a detected box belongs to.

One decision: the tiles of an image lie at equal distances and have the same size, so that every tile shows objects at
the same scale, and an object that is not larger than the overlap lies in at least one of them as a whole.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from nasdet.space.tiling import Tiling

CUT = 1 / 8
"""Share of the overlap: a box that ends nearer to its tile's edge than this may have been cut by it."""


@dataclasses.dataclass(frozen=True)
class Tile:
    """A part of an image in whole pixels."""

    top: int
    left: int
    height: int
    """Less than `rows` only where the image ends before."""
    width: int
    rows: int
    """Of a full tile, which fills the canvas."""
    columns: int
    strips: tuple[int, int, int, int]
    """Pixels shared with the neighbour to the left, above, to the right and below; 0 where there is none."""
    image_height: int
    image_width: int

    @property
    def extent(self) -> npt.NDArray[np.float32]:
        """xyxy in pixels of the image."""
        corners = (self.left, self.top, self.left + self.width, self.top + self.height)
        return np.array(corners, np.float32)

    def fitted(self, height: int, width: int) -> tuple[int, int, float]:
        """Rows, columns and scale on a canvas, the same scale for every tile of the same size."""
        scale = min(height / self.rows, width / self.columns)
        own = (round(self.height * scale), round(self.width * scale))
        return min(height, max(1, own[0])), min(width, max(1, own[1])), scale

    def owns(self, boxes: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
        """Whether each of boxes `(n, 4)`, xyxy pixels of the tile, belongs to this tile and not to a neighbour: `(n,)`.

        A box belongs to the neighbour if it lies inside the strip that both tiles share, ends nearer to this tile's
        edge than `CUT` of the strip's width, and lies further from the neighbour's edge: the neighbour then shows what
        this edge may have cut off. Larger boxes, and those at an edge of the image, are kept.
        """
        keep = np.ones(len(boxes), np.bool_)
        # For each of the four edges: how far the box is from it with its near and its far side. A box in the strip is
        # `strip - far` from the neighbour's edge.
        for axis, length in enumerate((self.width, self.height)):
            low, high = boxes[:, axis], boxes[:, axis + 2]
            for strip, near, far in (
                (self.strips[axis], low, high),
                (self.strips[axis + 2], length - high, length - low),
            ):
                keep &= (near > CUT * strip) | (far > strip) | (near >= strip - far)
        return keep


def grid(height: int, width: int, tiling: Tiling, canvas: tuple[int, int]) -> list[Tile]:
    """The tiles of a `height` x `width` image for a canvas `(height, width)`, row by row."""
    rows, columns = tiling.sides(*canvas)
    down, across = _starts(height, rows, tiling.shared), _starts(width, columns, tiling.shared)
    return [
        Tile(
            top, left, min(rows, height), min(columns, width), rows, columns,
            (_strip(across, j, -1, columns), _strip(down, i, -1, rows),
             _strip(across, j, 1, columns), _strip(down, i, 1, rows)),
            height, width,
        )
        for i, top in enumerate(down)
        for j, left in enumerate(across)
    ]  # fmt: skip


def _starts(extent: int, side: int, shared: int) -> list[int]:
    """First pixels of the fewest tiles that cover `extent` with at least the overlap, at equal distances."""
    shared = min(shared, side // 2)
    if extent <= side:
        return [0]
    count = math.ceil((extent - shared) / (side - shared))
    return [round(i * (extent - side) / (count - 1)) for i in range(count)]


def _strip(starts: list[int], index: int, step: int, side: int) -> int:
    """Pixels shared with the neighbour before (`step` -1) or after (1); 0 if there is none."""
    other = index + step
    return side - abs(starts[other] - starts[index]) if 0 <= other < len(starts) else 0
