"""The tiles of a split as records of their own.

One decision: an object is learnt from every tile that shows at least half of it, cut to the tile. In a tile that shows
less it is a region to ignore, so that no part of an object counts as background.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from nasdet.data.annotation_checks import SMALLEST_SIDE
from nasdet.data.records import ImageRecord
from nasdet.data.tiles import Tile, grid
from nasdet.space.tiling import Tiling

SHOWN = 0.5
"""Share of an object's box that a tile must show to learn it."""


def cut_records(
    records: Sequence[ImageRecord], tiling: Tiling, canvas: tuple[int, int], *, sample: bool = False
) -> list[ImageRecord]:
    """One record per tile, image by image.

    Args:
        records: whole images.
        tiling: how they are cut.
        canvas: height and width that tiles are resized to.
        sample: whether tiles without an object are left out beyond a share of `tiling.empty` of all tiles; which ones
            are kept depends on their content only.
    """
    tiles = [
        cut_record(record, tile) for record in records for tile in grid(record.height, record.width, tiling, canvas)
    ]
    return _sampled(tiles, tiling.empty) if sample else tiles


def cut_record(record: ImageRecord, tile: Tile) -> ImageRecord:
    """The record of a tile: objects in pixels of the tile, the id of the image."""
    left, top, right, bottom = tile.extent
    boxes = np.clip(record.boxes, [left, top, left, top], [right, bottom, right, bottom])
    boxes = (boxes - np.array([left, top, left, top])).astype(np.float32)
    sides, whole = boxes[:, 2:] - boxes[:, :2], record.boxes[:, 2:] - record.boxes[:, :2]
    # Objects that have any extent in the tile; those of which it shows less than half become regions to ignore.
    seen = (sides >= np.minimum(SMALLEST_SIDE, whole)).all(1)
    share = sides.prod(1) / whole.prod(1)
    crowd, area = record.crowd | (share < SHOWN), record.area * share
    shown = [m and m.part(record.height, record.width, tile.top, tile.left, tile.height, tile.width)
             for m, keep in zip(record.masks, seen, strict=False) if keep]  # fmt: skip
    digest = f"{record.digest} {tile.top} {tile.left} {tile.rows} {tile.columns}"
    return dataclasses.replace(
        record, height=tile.height, width=tile.width, boxes=boxes[seen], labels=record.labels[seen], crowd=crowd[seen],
        area=area[seen].astype(np.float32), masks=tuple(shown), digest=digest, tile=tile,
    )  # fmt: skip


def _sampled(tiles: list[ImageRecord], empty: float) -> list[ImageRecord]:
    """All tiles with an object, and of the others those whose hashes come first, in the order of `tiles`."""
    bare = [i for i, tile in enumerate(tiles) if tile.crowd.all()]
    # With f tiles that have objects and a share e of empty ones: count / (f + count) = e.
    count = int((len(tiles) - len(bare)) * empty / (1 - empty))
    bare.sort(key=lambda i: hashlib.sha256(tiles[i].digest.encode()).digest())
    left_out = set(bare[count:])
    return [tile for i, tile in enumerate(tiles) if i not in left_out]
