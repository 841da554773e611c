"""From a mask as the annotation states it to one in pixels of the image. One decision: an object whose mask is of no
use keeps its box, so that a bad mask costs nothing but itself; it is counted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nasdet.data.defects import DefectLog
from nasdet.data.image_scan import Scan
from nasdet.data.images import upright, upright_boxes
from nasdet.data.masks import Mask, Points, Polygons, Runs
from nasdet.data.records import RawObject

TOLERANCE = 1.5
"""Pixels by which an object may leave the image without mention (one-based coordinates, rounding)."""
SAME_ASPECT = 0.02
"""Largest relative difference of width / height of a size that is the image's at another scale."""


class Grid(NamedTuple):
    """How the unit of an image's annotations relates to its pixels."""

    x: float = 1.0
    """Pixels per stated unit."""
    y: float = 1.0
    orientation: int = 1
    """EXIF orientation that the annotations still have to be turned by."""


def place_mask(obj: RawObject, grid: Grid, scan: Scan, log: DefectLog) -> Mask | None:
    """The object's mask in pixels of the upright image, or None if it has none that can be used."""
    if isinstance(obj.mask, Runs):
        return _place_runs(obj.mask, grid, scan, obj.where, log)
    if isinstance(obj.mask, Polygons):
        return _place_polygons(obj.mask, grid, scan, obj.where, log)
    return None


def _place_runs(mask: Runs, grid: Grid, scan: Scan, where: str, log: DefectLog) -> Runs | None:
    if grid.orientation > 1:
        mask = Runs.of(upright(mask.bitmap()[:, :, None], grid.orientation)[:, :, 0])
    if abs(mask.width * scan.height / (mask.height * scan.width) - 1) > SAME_ASPECT:
        example = f"{where}: {mask.width}x{mask.height}, the image has {scan.width}x{scan.height}"
        log.add("mask of another size than the image", example, "skipped")
        return None
    if not mask.area():
        log.add("empty mask", where, "skipped")
        return None
    return mask


def _place_polygons(mask: Polygons, grid: Grid, scan: Scan, where: str, log: DefectLog) -> Polygons | None:
    """Polygons that leave the image are cut when they are drawn; those that do not touch it are dropped."""
    size = np.array([scan.width, scan.height])
    kept: list[Points] = []
    for part in mask.scaled(grid.x, grid.y).parts:
        points = _turn(part, grid, scan)
        low, high = points.min(0), points.max(0)
        if (high <= 0).any() or (low >= size).any() or (low < -size).any() or (high > 2 * size).any():
            log.add("mask outside the image", f"{where}: {low.round(1)} to {high.round(1)}", "skipped")
            continue
        if (low < -TOLERANCE).any() or (high > size + TOLERANCE).any():
            log.add("mask partly outside the image", f"{where}: {low.round(1)} to {high.round(1)}", "repaired")
        kept.append(points)
    return Polygons(tuple(kept)) if kept else None


def _turn(points: Points, grid: Grid, scan: Scan) -> Points:
    if grid.orientation < 5:
        return points
    turned = upright_boxes(np.tile(points, 2), grid.orientation, scan.height, scan.width)
    return np.ascontiguousarray(turned[:, :2], np.float64)
