"""From what annotation files state to what can be trained on: boxes and masks in pixels of the upright image.

A box is kept if a pixel of it can be saved (by putting its corners in order, by cutting it to the image), else it is
skipped. An object whose mask cannot be used keeps its box. Every fault is counted, whether repaired or skipped.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nasdet.data.defects import DefectLog
from nasdet.data.image_scan import Scan
from nasdet.data.images import upright, upright_boxes
from nasdet.data.masks import Mask, Points, Polygons, Runs
from nasdet.data.records import AnyBoxes, Flags, ImageRecord, Labels, RawImage, RawObject

SMALLEST_SIDE = 0.5
"""Pixels; a box with a shorter side has no size."""
TOLERANCE = 1.5
"""Pixels by which an object may leave the image without mention (one-based coordinates, rounding)."""
SAME_ASPECT = 0.02
"""Largest relative difference of width / height between two sizes that are one size at two scales."""
NEAR_DUPLICATE = 0.9
"""IoU of two boxes of one class above which they are reported."""
COMPARED = 50
"""Boxes that begin near a box and are compared with it, at most."""


class Units(NamedTuple):
    """How the unit of an image's annotations relates to its pixels."""

    x: float = 1.0
    """Pixels per stated unit."""
    y: float = 1.0
    orientation: int = 1
    """EXIF orientation that the annotations still have to be turned by."""


def check_image(raw: RawImage, scan: Scan, number: int, log: DefectLog) -> ImageRecord:
    """Return the record of one image with every object that can be used.

    Args:
        raw: as the annotation states it.
        scan: of the image file, decodable.
        number: id of the image if the annotation has none.
        log: where faults are counted.
    """
    units = _units(raw, scan, log)
    # Boxes that have a size and a position; their corners in order; the part of them that lies inside the image.
    boxes = _in_pixels(raw, units)
    keep = _usable(boxes, raw.objects, log)
    objects = list(itertools.compress(raw.objects, keep))
    boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], 1)
    boxes, inside = _clip(boxes[keep], objects, scan, log)
    objects = list(itertools.compress(objects, inside))
    labels = np.array([o.label for o in objects], np.int64)
    crowd = np.array([o.crowd for o in objects], bool)
    # The area is that of the mask where the annotation states it, and never more than that of the box.
    sides = boxes[:, 2:] - boxes[:, :2]
    own = sides[:, 0] * sides[:, 1]
    stated = np.array([np.nan if o.area is None else o.area * units.x * units.y for o in objects], np.float64)
    area = np.where(np.isnan(stated), own, np.minimum(stated, own)).astype(np.float32)
    _report_duplicates(boxes, labels, crowd, objects, log)
    masks = tuple(place_mask(o, units, scan, log) for o in objects)
    return ImageRecord(
        id=number if raw.id is None else raw.id, path=raw.path, width=scan.width, height=scan.height,
        boxes=boxes.astype(np.float32), labels=labels, crowd=crowd, area=area, group=raw.group, digest=scan.digest,
        masks=masks if any(m is not None for m in masks) else (),
    )  # fmt: skip


def _units(raw: RawImage, scan: Scan, log: DefectLog) -> Units:
    """How annotations become pixels of the upright image.

    Annotations refer to the upright image, unless the stated size is that of the pixels as stored and the two differ
    (EXIF orientation 5 to 8): then the objects are turned with the image. If the stated size is the image's at another
    scale, the objects are scaled.
    """
    if raw.relative:
        return Units(scan.width, scan.height)
    if raw.size is None or raw.size == (scan.width, scan.height):
        return Units()
    if scan.orientation >= 5 and raw.size == (scan.height, scan.width):
        log.add("boxes in the unrotated pixel grid", raw.path.name, "repaired")
        return Units(orientation=scan.orientation)
    example = f"{raw.path.name}: {raw.size[0]}x{raw.size[1]} stated, {scan.width}x{scan.height} read"
    x, y = scan.width / raw.size[0], scan.height / raw.size[1]
    if abs(x / y - 1) <= SAME_ASPECT:
        log.add("boxes stated at another image scale", example, "repaired")
        return Units(x, y)
    log.add("image size differs from the stated one", example, "reported")
    return Units()


def _in_pixels(raw: RawImage, units: Units) -> AnyBoxes:
    """Boxes in pixels of the upright image, `(n, 4)` float64."""
    boxes: AnyBoxes = np.array([o.box for o in raw.objects], np.float64).reshape(-1, 4)
    if units.orientation > 1 and raw.size:
        return upright_boxes(boxes, units.orientation, *raw.size)
    scaled: AnyBoxes = boxes * np.array([units.x, units.y] * 2)
    return scaled


def _usable(boxes: AnyBoxes, objects: Sequence[RawObject], log: DefectLog) -> Flags:
    """Which boxes have a size and a position, `(n,)`; the others are counted, and reversed ones, which are put in order
    later."""
    finite: Flags = np.asarray(np.isfinite(boxes).all(1))
    with np.errstate(invalid="ignore"):
        sides = boxes[:, 2:] - boxes[:, :2]
        thin: Flags = finite & (abs(sides) < SMALLEST_SIDE).any(1)
        turned = (sides < 0).any(1)
    for i in np.flatnonzero(~finite | thin | turned).tolist():
        text = f"{objects[i].where}: {_rounded(boxes[i])}"
        if not finite[i]:
            log.add("NaN or infinite box", text, "skipped")
        elif thin[i]:
            log.add("zero-size box", text, "skipped")
        else:
            log.add("reversed box", text, "repaired")
    return finite & ~thin


def _clip(boxes: AnyBoxes, objects: Sequence[RawObject], scan: Scan, log: DefectLog) -> tuple[AnyBoxes, Flags]:
    """Boxes cut to the image, and which of the given ones are left with a size."""
    limit = np.array([scan.width, scan.height] * 2, np.float64)
    clipped = np.clip(boxes, 0, limit)
    inside: Flags = np.asarray(((clipped[:, 2:] - clipped[:, :2]) >= SMALLEST_SIDE).all(1))
    cut = inside & (abs(clipped - boxes).max(1, initial=0) > TOLERANCE)
    for i in np.flatnonzero(~inside | cut).tolist():
        text = f"{objects[i].where}: {_rounded(boxes[i])} in {scan.width}x{scan.height}"
        if inside[i]:
            share = (clipped[i, 2:] - clipped[i, :2]).prod() / (boxes[i, 2:] - boxes[i, :2]).prod()
            log.add(f"box {'mostly' if share < 0.5 else 'partly'} outside the image", text, "repaired")
        else:
            log.add("box outside the image", text, "skipped")
    return clipped[inside], inside


def _rounded(box: AnyBoxes) -> list[float]:
    return [round(float(v), 1) for v in box]


def _report_duplicates(
    boxes: AnyBoxes, labels: Labels, crowd: Flags, objects: Sequence[RawObject], log: DefectLog
) -> None:
    """Count pairs of equal class that overlap almost entirely; both are kept."""
    if len(boxes) < 2:
        return
    # Boxes of such an IoU begin near each other: in the order of their left edges each is compared with the ones that
    # follow within a share of its own width, and of these with the first few, so that an image of very many boxes
    # neither fills the memory nor takes long.
    order = np.argsort(boxes[:, 0], kind="stable")
    x1, y1, x2, y2 = boxes[order].T
    ends = np.searchsorted(x1, x1 + (1 / NEAR_DUPLICATE - 1) * (x2 - x1), side="right")
    following = np.minimum(ends - np.arange(len(order)) - 1, COMPARED)
    if not following.any():
        return
    first = np.repeat(np.arange(len(order)), following)
    begins = np.cumsum(following) - following
    second = first + 1 + np.arange(len(first)) - np.repeat(begins, following)
    wide = np.minimum(x2[first], x2[second]) - np.maximum(x1[first], x1[second])
    tall = np.minimum(y2[first], y2[second]) - np.maximum(y1[first], y1[second])
    shared, area = np.clip(wide, 0, None) * np.clip(tall, 0, None), (x2 - x1) * (y2 - y1)
    near = shared > NEAR_DUPLICATE * (area[first] + area[second] - shared)
    one, other = order[first[near]], order[second[near]]
    for i, j in sorted(zip(np.minimum(one, other).tolist(), np.maximum(one, other).tolist(), strict=True)):
        if labels[i] == labels[j] and not crowd[i] and not crowd[j]:
            log.add("near-duplicate boxes", f"{objects[i].where} and {objects[j].where.split(', ')[-1]}", "reported")


def place_mask(obj: RawObject, units: Units, scan: Scan, log: DefectLog) -> Mask | None:
    """The object's mask in pixels of the upright image, or None if it has none that can be used."""
    if isinstance(obj.mask, Runs):
        return _place_runs(obj.mask, units, scan, obj.where, log)
    if isinstance(obj.mask, Polygons):
        return _place_polygons(obj.mask, units, scan, obj.where, log)
    return None


def _place_runs(mask: Runs, units: Units, scan: Scan, where: str, log: DefectLog) -> Runs | None:
    if units.orientation > 1:
        mask = Runs.of(upright(mask.bitmap()[:, :, None], units.orientation)[:, :, 0])
    if abs(mask.width * scan.height / (mask.height * scan.width) - 1) > SAME_ASPECT:
        example = f"{where}: {mask.width}x{mask.height}, the image has {scan.width}x{scan.height}"
        log.add("mask of another size than the image", example, "skipped")
        return None
    if not mask.area():
        log.add("empty mask", where, "skipped")
        return None
    return mask


def _place_polygons(mask: Polygons, units: Units, scan: Scan, where: str, log: DefectLog) -> Polygons | None:
    """Polygons that leave the image are cut when they are drawn; those that do not touch it are dropped."""
    size = np.array([scan.width, scan.height])
    kept: list[Points] = []
    for part in mask.scaled(units.x, units.y).parts:
        points = _turn(part, units, scan)
        low, high = points.min(0), points.max(0)
        if (high <= 0).any() or (low >= size).any() or (low < -size).any() or (high > 2 * size).any():
            log.add("mask outside the image", f"{where}: {low.round(1)} to {high.round(1)}", "skipped")
            continue
        if (low < -TOLERANCE).any() or (high > size + TOLERANCE).any():
            log.add("mask partly outside the image", f"{where}: {low.round(1)} to {high.round(1)}", "repaired")
        kept.append(points)
    return Polygons(tuple(kept)) if kept else None


def _turn(points: Points, units: Units, scan: Scan) -> Points:
    if units.orientation < 5:
        return points
    turned = upright_boxes(np.tile(points, 2), units.orientation, scan.height, scan.width)
    return np.ascontiguousarray(turned[:, :2], np.float64)
