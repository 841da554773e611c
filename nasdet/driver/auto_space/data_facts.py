"""The figures of a data set from which a search space follows."""

from __future__ import annotations

import dataclasses
from typing import Self

import numpy as np

from nasdet.data import Dataset
from nasdet.space.tiling import Tiling

FEW_BOXES = 20
"""Training boxes below which a class is hardly learned."""


@dataclasses.dataclass(frozen=True)
class DataFacts:
    """Figures of the training split. Sides are shares of the longer side of the image, or of the tile where images are
    cut into tiles; regions to ignore do not count."""

    source: str
    """As `--data` has it."""
    train: int
    """Training images, or tiles."""
    long_side: int
    """Median of the longer side of an image, pixels."""
    small: float
    """Side (square root of the area) that a tenth of the boxes are smaller than."""
    large: float
    """Longer side that a tenth of the boxes exceed."""
    boxes: float
    """Mean number of boxes of an image."""
    tile: Tiling | None
    """How images are cut into tiles; None: they are seen whole."""
    characters: bool
    """Whether all classes are single letters or digits, which a flip turns into others."""
    rare: tuple[str, ...]
    """Classes with fewer than `FEW_BOXES` boxes."""

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Look at the boxes of the training images."""
        info, images = dataset.info, dataset.images("train")
        long = [info.tiling.size if info.tiling else max(r.width, r.height) for r in images]
        boxes = [r.boxes[~r.crowd] for r in images]
        shares = np.concatenate([(own[:, 2:] - own[:, :2]) / side for own, side in zip(boxes, long, strict=True)])
        sides = np.sqrt(shares.prod(1))
        counts = np.bincount(np.concatenate([r.labels[~r.crowd] for r in images]), minlength=len(info.classes))
        return cls(
            source=info.source,
            train=info.splits["train"],
            long_side=round(float(np.median(long))),
            small=float(np.quantile(sides, 0.1)),
            large=float(np.quantile(shares.max(1), 0.9)),
            boxes=len(sides) / max(1, info.splits["train"]),
            tile=info.tiling,
            characters=all(len(name) == 1 and name.isalnum() for name in info.classes),
            rare=tuple(name for name, count in zip(info.classes, counts, strict=True) if count < FEW_BOXES),
        )
