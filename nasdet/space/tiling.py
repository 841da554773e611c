"""How images are cut into tiles, as a search space, a data YAML and a bundle state it."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from pydantic import Field


@dataclasses.dataclass(frozen=True)
class Tiling:
    """How images are cut. A tile has the aspect of the detector's canvas, onto which it is resized."""

    size: Annotated[int, Field(ge=16)]
    """Pixels of a tile's longer side."""
    overlap: Annotated[int, Field(ge=0)] | None = None
    """Least pixels that neighbours share, at most half of `size`; None: a quarter of it."""
    empty: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Largest share of tiles without an object among the training tiles."""

    def __post_init__(self) -> None:
        """Raises ValueError: the overlap is more than half of a tile."""
        if 2 * self.shared > self.size:
            raise ValueError(f"overlap {self.overlap} is more than half of size {self.size}")

    @property
    def shared(self) -> int:
        """The overlap in pixels."""
        return self.size // 4 if self.overlap is None else self.overlap

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of a tile for a canvas of `height` x `width`."""
        scale = self.size / max(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))
