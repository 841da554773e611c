"""Boxes that are too narrow for the grid of a detector.

Heads learn a box at the points of their levels that lie in it. Points of a level are one stride apart, so a box that is
narrower than half a stride on the canvas mostly holds none, and no level has anything to learn it from.
"""

from __future__ import annotations

import dataclasses
from typing import Self

import numpy as np
import numpy.typing as npt

from nasdet.data.dataset import Dataset
from nasdet.space.tiling import Tiling

LEAST_CELLS = 0.5
"""Width of a box in cells of the finest level below which it is too narrow."""
STRIDE = 8
"""Of the finest level of most detectors; a space may ask for 4."""
_FEW = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingBoxes:
    """Narrow sides of the boxes of the training split, and the sizes of their images."""

    side: npt.NDArray[np.float64]
    """`(n,)` shorter side of each box in pixels of its image."""
    long_side: npt.NDArray[np.float64]
    """`(n,)` its longer side."""
    image: npt.NDArray[np.float64]
    """`(n, 2)` height and width of its image."""
    tiling: Tiling | None
    """How images are cut; None: they are not."""

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """The boxes of a data set without regions to ignore."""
        records = dataset.images("train")
        sides = np.concatenate([(r.boxes[:, 2:] - r.boxes[:, :2])[~r.crowd] for r in records]).astype(np.float64)
        image = [(r.height, r.width) for r in records for _ in range(int((~r.crowd).sum()))]
        return cls(sides.min(1), sides.max(1), np.array(image, np.float64).reshape(-1, 2), dataset.info.tiling)

    def share_too_narrow(self, height: int, width: int, stride: float) -> float:
        """Share of the boxes that a canvas of `height` x `width` and a finest level of `stride` pixels cannot learn."""
        return float((self.side * self._scale(height, width) < LEAST_CELLS * stride).mean())

    def share_on(self, size: int, stride: float) -> float:
        """The same for a canvas whose longer side is `size`, as high and wide as the images are."""
        longest = self.tiling.size if self.tiling else self.image.max(1)
        return float((self.side * size / longest < LEAST_CELLS * stride).mean())

    def _scale(self, height: int, width: int) -> npt.NDArray[np.float64] | float:
        """Canvas pixels per pixel of each box's image."""
        if self.tiling:
            return max(height, width) / self.tiling.size
        return np.minimum(height / self.image[:, 0], width / self.image[:, 1])


def narrow_advice(boxes: TrainingBoxes, size: int, sizes: tuple[int, ...]) -> str:
    """What to say about boxes that an input of `size` cannot learn; empty if they are less than one in a hundred.

    Args:
        boxes: of the training split.
        size: longer side of the input.
        sizes: inputs that may be advised, rising.
    """
    share = boxes.share_on(size, STRIDE)
    if share < _FEW:
        return ""
    said = (
        f"{share:.0%} of the training boxes are narrower than {LEAST_CELLS * STRIDE:g} px on an input of {size} px, "
        f"half a cell of a level at stride {STRIDE}: no level can learn them"
    )
    # The input with the fewest cells that loses less than a tenth of them: cells of 8 pixels, or of 4.
    fine = STRIDE // 2
    ways = [(other, stride) for stride in (STRIDE, fine) for other in sizes if other / stride > size / STRIDE]
    for other, stride in sorted(ways, key=lambda way: (way[0] / way[1], way[0])):
        left = boxes.share_on(other, stride)
        if other >= size and left <= max(_FEW, share / 10):
            level = f" with a level at stride {fine} (`--set fixed.neck.min_stride={fine}`)" if stride == fine else ""
            return f"{said}; an input of {other} px{level} leaves {left:.0%}"
    # Tiles that show the narrow sides at half a cell; objects that are larger than half of one are found in pieces.
    tile = int(size * np.quantile(boxes.side, _FEW) / (LEAST_CELLS * STRIDE) // 32 * 32)
    said += f", nor any other up to {sizes[-1]} px and stride {fine}"
    if boxes.tiling or not tile:
        return f"{said}: annotate such objects wider"
    longest = float(np.quantile(boxes.long_side, 0.9))
    pieces = f", but cuts objects of {longest:.0f} px into pieces: annotate them wider" if tile < 2 * longest else ""
    return f"{said}; `tile: {{size: {tile}}}` in a data YAML shows all of them wide enough{pieces}"
