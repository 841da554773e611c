"""From what annotation files state to what can be trained on. One decision: a box is kept if a pixel of it can be saved
(order, clip), else skipped; either is counted.
"""

from __future__ import annotations

import itertools

import numpy as np

from nasdet.data.defects import DefectLog
from nasdet.data.image_scan import Scan
from nasdet.data.images import upright_boxes
from nasdet.data.mask_checks import SAME_ASPECT, TOLERANCE, Grid, place_mask
from nasdet.data.records import AnyBoxes, Flags, ImageRecord, Labels, RawImage

SMALLEST_SIDE = 0.5
"""Pixels; a box with a shorter side has no size."""
_NEAR_DUPLICATE = 0.9


def check_image(raw: RawImage, scan: Scan, number: int, log: DefectLog) -> ImageRecord:
    """Return the record of one image with every object that can be used.

    Args:
        raw: as the annotation states it.
        scan: of the image file, decodable.
        number: id of the image if the annotation has none.
        log: where faults are counted.
    """
    grid = _grid(raw, scan, log)
    boxes = _in_pixels(raw, grid)
    keep = np.array([_usable(box, obj.where, log) for box, obj in zip(boxes, raw.objects, strict=True)], bool)
    objects = list(itertools.compress(raw.objects, keep))
    boxes = np.stack([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], 1).reshape(-1, 4)
    boxes, inside = _clip(boxes[keep], [o.where for o in objects], scan, log)
    objects = list(itertools.compress(objects, inside))
    labels = np.array([o.label for o in objects], np.int64)
    crowd = np.array([o.crowd for o in objects], bool)
    sides = boxes[:, 2:] - boxes[:, :2]
    own = sides[:, 0] * sides[:, 1]
    stated = np.array([np.nan if o.area is None else o.area * grid.x * grid.y for o in objects], np.float64)
    area = np.where(np.isnan(stated), own, np.minimum(stated, own)).astype(np.float32)
    _report_duplicates(boxes, labels, crowd, [o.where for o in objects], log)
    masks = tuple(place_mask(o, grid, scan, log) for o in objects)
    return ImageRecord(
        id=number if raw.id is None else raw.id, path=raw.path, width=scan.width, height=scan.height,
        boxes=boxes.astype(np.float32), labels=labels, crowd=crowd, area=area, group=raw.group, digest=scan.digest,
        masks=masks if any(m is not None for m in masks) else (),
    )  # fmt: skip


def _grid(raw: RawImage, scan: Scan, log: DefectLog) -> Grid:
    """From the unit of the annotations to pixels of the upright image.

    Annotations refer to the upright image, unless the stated size is that of the pixel grid as stored and the two
    differ (EXIF orientation 5 to 8): then the objects are turned with the image. A size stated at another scale scales
    them.
    """
    if raw.relative:
        return Grid(scan.width, scan.height)
    if raw.size is None or raw.size == (scan.width, scan.height):
        return Grid()
    if scan.orientation >= 5 and raw.size == (scan.height, scan.width):
        log.add("boxes in the unrotated pixel grid", raw.path.name, "repaired")
        return Grid(orientation=scan.orientation)
    example = f"{raw.path.name}: {raw.size[0]}x{raw.size[1]} stated, {scan.width}x{scan.height} read"
    x, y = scan.width / raw.size[0], scan.height / raw.size[1]
    if abs(x / y - 1) <= SAME_ASPECT:
        log.add("boxes stated at another image scale", example, "repaired")
        return Grid(x, y)
    log.add("image size differs from the stated one", example, "reported")
    return Grid()


def _in_pixels(raw: RawImage, grid: Grid) -> AnyBoxes:
    """Boxes in pixels of the upright image, `(n, 4)` float64."""
    boxes: AnyBoxes = np.array([o.box for o in raw.objects], np.float64).reshape(-1, 4)
    if grid.orientation > 1 and raw.size:
        return upright_boxes(boxes, grid.orientation, *raw.size)
    scaled: AnyBoxes = boxes * np.array([grid.x, grid.y] * 2)
    return scaled


def _usable(box: AnyBoxes, where: str, log: DefectLog) -> bool:
    """Count and refuse boxes without size or position; count reversed ones, which are put in order later."""
    text = f"{where}: {[round(float(v), 1) for v in box]}"
    if not np.isfinite(box).all():
        log.add("NaN or infinite box", text, "skipped")
        return False
    sides = box[2:] - box[:2]
    if (abs(sides) < SMALLEST_SIDE).any():
        log.add("zero-size box", text, "skipped")
        return False
    if (sides < 0).any():
        log.add("reversed box", text, "repaired")
    return True


def _clip(boxes: AnyBoxes, where: list[str], scan: Scan, log: DefectLog) -> tuple[AnyBoxes, Flags]:
    """Boxes cut to the image, and which of the given ones are left with a size."""
    limit = np.array([scan.width, scan.height] * 2, np.float64)
    clipped = np.clip(boxes, 0, limit)
    inside: Flags = np.asarray(((clipped[:, 2:] - clipped[:, :2]) >= SMALLEST_SIDE).all(1))
    moved = abs(clipped - boxes).max(1, initial=0)
    for box, ok, distance, name in zip(boxes, inside, moved, where, strict=True):
        text = f"{name}: {[round(float(v), 1) for v in box]} in {scan.width}x{scan.height}"
        if not ok:
            log.add("box outside the image", text, "skipped")
        elif distance > TOLERANCE:
            log.add("box partly outside the image", text, "repaired")
    return clipped[inside], inside


def _report_duplicates(boxes: AnyBoxes, labels: Labels, crowd: Flags, where: list[str], log: DefectLog) -> None:
    """Count pairs of equal class that overlap almost entirely; both are kept."""
    if len(boxes) < 2:
        return
    top, bottom = np.maximum(boxes[:, None, :2], boxes[None, :, :2]), np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.clip(bottom - top, 0, None).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    overlap = shared / (area[:, None] + area[None] - shared)
    same = (labels[:, None] == labels[None]) & ~crowd[:, None] & ~crowd[None]
    for first, second in np.argwhere(np.triu((overlap > _NEAR_DUPLICATE) & same, 1)):
        log.add("near-duplicate boxes", f"{where[first]} and {where[second].split(', ')[-1]}", "reported")
