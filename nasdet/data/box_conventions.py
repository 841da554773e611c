"""Whether boxes are written in another convention than their layout's: corners where sizes belong, pixels where shares
belong, and the like.

Cut to the image, such boxes would look right and be wrong. They are told from good boxes that leave the image by what
they would be in the other conventions: a set of boxes without a fault in one of them was written in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nasdet.data.image_scan import Scan
from nasdet.data.images import upright_boxes
from nasdet.data.records import RawImage, RawObject
from nasdet.errors import InputError

_Numbers = npt.NDArray[np.float64]

_LEAVES_SIDE, _LEAVES_IMAGE = 0.25, 0.1
"""A box leaves the image if more than these shares of its own side, or of the image's, lie outside."""
_ROUNDING = 0.02
"""Share of the image by which boxes that are read in the right convention may leave it."""
_PIXELS = 2.0
"""That much never counts as leaving."""
_SMALLEST = 0.5
"""Pixels; a shorter side is no size."""
_EVIDENCE, _EVIDENT_SHARE = 3, 0.1
"""Boxes, and share of all, that have to be at fault before another convention is thought of."""
_SMALL_SPLIT = 10
"""Boxes of a split below which it is not looked at by itself."""
_STRAYS = 200
"""One fault in so many boxes does not speak against a convention."""


def _of_corner(v: _Numbers) -> _Numbers:
    return np.hstack([v[:, :2], v[:, :2] + v[:, 2:]])


def _of_centre(v: _Numbers) -> _Numbers:
    return np.hstack([v[:, :2] - v[:, 2:] / 2, v[:, :2] + v[:, 2:] / 2])


_FORMS: dict[str, tuple[Callable[[_Numbers], _Numbers], Callable[[_Numbers], _Numbers]]] = {
    "corners (x1, y1, x2, y2)": (lambda v: v, lambda b: b),
    "corner and size (x, y, width, height)": (_of_corner, lambda b: np.hstack([b[:, :2], b[:, 2:] - b[:, :2]])),
    "centre and size (cx, cy, width, height)": (
        _of_centre,
        lambda b: np.hstack([(b[:, :2] + b[:, 2:]) / 2, b[:, 2:] - b[:, :2]]),
    ),
    "corners with y first (y1, x1, y2, x2)": (lambda v: v[:, [1, 0, 3, 2]], lambda b: b[:, [1, 0, 3, 2]]),
    "polygons": (lambda v: v, lambda b: b),
}
"""From the four numbers of a box to its corners, and back."""
_CORNERS, _CORNER, _CENTRE, _Y_FIRST, _POLYGON = _FORMS
_UNITS: dict[str, Callable[[_Numbers], _Numbers]] = {
    "pixels": lambda size: 1 / size,
    "shares of the image": np.ones_like,
    "percent of the image": lambda size: np.full_like(size, 0.01),
}
"""By what a number is multiplied to become a share of the image, for images of (n, 4) width, height, width, height."""
_PIXEL, _SHARE, _PERCENT = _UNITS
_STATED = {"coco": (_CORNER, _PIXEL), "voc": (_CORNERS, _PIXEL), "yolo": (_CENTRE, _SHARE)}


def check_conventions(
    images: Sequence[RawImage], scans: Mapping[Path, Scan], layout: str, where: str, max_bad: float
) -> None:
    """Raise InputError if the boxes of all images, or of a split, are written in another convention than the layout's.

    Args:
        images: as the annotations state them.
        scans: of their files.
        layout: coco, voc or yolo.
        where: the data set, for the message.
        max_bad: share of faulty boxes up to which nothing is said.
    """
    form, unit = _STATED[layout]
    found = [(obj, image) for image in images for obj in image.objects]
    boxes: _Numbers = np.array([obj.box for obj, _ in found], np.float64).reshape(-1, 4)
    sizes = {image.path: _size(image, scans[image.path]) * 2 for image in images}
    size: _Numbers = np.array([sizes[image.path] for _, image in found], np.float64).reshape(-1, 4)
    shares = boxes if unit == _SHARE else boxes / size
    finite = np.isfinite(boxes).all(1)
    # Rows of YOLO with a polygon state no box.
    outlined = np.array([image.relative and obj.mask is not None for obj, image in found], bool)
    splits = np.array([image.split for _, image in found], str)
    if unit == _PIXEL:
        _check_turned(found, shares, size, scans, where, max_bad)
    for split in ("", *dict.fromkeys(splits.tolist())):
        for own_form, chosen in ((form, ~outlined), (_POLYGON, outlined)):
            own = np.flatnonzero(finite & chosen & ((splits == split) | (split == "")))
            if len(own) >= (_SMALL_SPLIT if split else 1) and (
                fault := _fault(shares[own], size[own], own_form, unit, max_bad)
            ):
                what, first, remedy = fault
                obj, image = found[own[first]]
                raise InputError(f"{what}, such as {_named(obj, image, own_form)}", where=where, remedy=remedy)


def _named(obj: RawObject, image: RawImage, form: str) -> str:
    """Where a box stands, and its numbers as they were written."""
    numbers = ", ".join(f"{v:g}" for v in _FORMS[form][1](np.array([obj.box], np.float64))[0])
    return f"{obj.where if image.path.stem in obj.where else f'{image.path.name}, {obj.where}'}: {numbers}"


def _check_turned(
    found: Sequence[tuple[RawObject, RawImage]], shares: _Numbers, size: _Numbers, scans: Mapping[Path, Scan],
    where: str, max_bad: float,
) -> None:  # fmt: skip
    """Raise InputError if boxes fit only into the pixels as stored of images that EXIF's orientation lays on a side.

    Where the stated width and height are those of the pixels as stored, boxes are turned with the image instead.
    """
    rows = [
        i for i, (_, image) in enumerate(found)
        if (scan := scans[image.path]).orientation >= 5 and _size(image, scan) == (scan.width, scan.height)
    ]  # fmt: skip
    rows = [i for i in rows if np.isfinite(shares[i]).all()]
    bad = np.flatnonzero(_leaving(shares[rows], size[rows]) | _flat(shares[rows], size[rows]))
    if len(bad) <= max_bad * len(rows) or len(bad) < max(_EVIDENCE, _EVIDENT_SHARE * len(rows)):
        return
    turned = [
        upright_boxes(shares[i : i + 1] * size[i], scan.orientation, scan.height, scan.width) / size[i]
        for i in rows
        if (scan := scans[found[i][1].path])
    ]
    if _misfits(np.concatenate(turned), size[rows]).sum() <= len(rows) // _STRAYS:
        obj, image = found[rows[bad[0]]]
        raise InputError(
            f"{len(bad)} of {len(rows)} boxes leave their image when it is turned by its EXIF orientation, and none "
            f"when it is not, such as {_named(obj, image, _CORNERS)}",
            where=where,
            remedy="state width and height of the images as stored, so that boxes are turned, or turn the images",
        )


def _size(image: RawImage, scan: Scan) -> tuple[float, float]:
    """Width and height of the image in the unit of its annotations."""
    own, stated = (scan.width, scan.height), image.size
    if stated and not image.relative:
        turned = scan.orientation >= 5 and stated == own[::-1]
        if turned or abs(stated[0] * own[1] / (stated[1] * own[0]) - 1) <= _ROUNDING:
            return stated
    return own


def _fault(shares: _Numbers, size: _Numbers, form: str, unit: str, max_bad: float) -> tuple[str, int, str] | None:
    """What is wrong with boxes (n, 4), corners in shares of the image: text, index of an example, and remedy."""
    leaving, flat = _leaving(shares, size), _flat(shares, size)
    bad, total = leaving | flat, len(shares)
    count = int(bad.sum())
    if count <= max_bad * total or count < _EVIDENCE:
        return None
    accept = "`max_bad: 1` in a data YAML accepts them as they are"
    if count >= _EVIDENT_SHARE * total:
        numbers = _FORMS[form][1](shares / _UNITS[unit](size))
        fitting = []
        for other_form, other_unit in _others(form, unit):
            read = _FORMS[other_form][0](numbers) * _UNITS[other_unit](size)
            faults = int(_misfits(read, size).sum())
            if faults <= total // _STRAYS:
                fitting.append((float(read.max()), other_form, other_unit, faults))
        if fitting:
            # Where several fit, boxes fill the image in the right one: percent read as pixels lie in a corner of it.
            _, other_form, other_unit, left = max(fitting, key=lambda fit: round(fit[0], 1))
            units = ("", "") if other_unit == unit else (f" in {unit}", f" in {other_unit}")
            what = (
                f"{count} of {total} boxes leave the image or have no size when they are read as {form}{units[0]}, "
                f"and {left or 'none'} when they are read as {other_form}{units[1]}"
            )
            return what, int(bad.argmax()), f"write {form}{units[0]}; {accept}"
    if 2 * leaving.sum() > total:
        what = f"{leaving.sum()} of {total} boxes leave the image when they are read as {form} in {unit}"
        return what, int(leaving.argmax()), f"correct them; {accept}"
    return None


def _others(form: str, unit: str) -> list[tuple[str, str]]:
    """The other conventions: first another form, then another unit, then both."""
    forms = [(other, unit) for other in (_CORNERS, _CORNER, _CENTRE, _Y_FIRST) if form not in (other, _POLYGON)]
    # Percent where pixels belong cannot be seen: every box is one in pixels too.
    units = [(form, other) for other in _UNITS if other != unit and (other != _PERCENT or unit == _SHARE)]
    return [*forms, *units, *((other, second) for other, _ in forms for _, second in units)]


def _misfits(shares: _Numbers, size: _Numbers) -> npt.NDArray[np.bool_]:
    """Boxes that would not be so in the convention they were written in."""
    over = np.asarray((_over(shares) > np.maximum(_ROUNDING, _PIXELS / size[:, :2])).any(1))
    return over | _flat(shares, size)


def _over(shares: _Numbers) -> _Numbers:
    """By how much boxes leave the image along each axis, (n, 2)."""
    over: _Numbers = np.maximum(np.maximum(-shares, shares - 1)[:, :2], np.maximum(-shares, shares - 1)[:, 2:])
    return over


def _leaving(shares: _Numbers, size: _Numbers) -> npt.NDArray[np.bool_]:
    sides = np.abs(shares[:, 2:] - shares[:, :2])
    limit = np.maximum(np.minimum(_LEAVES_SIDE * sides, _LEAVES_IMAGE), _PIXELS / size[:, :2])
    return np.asarray((_over(shares) > limit).any(1))


def _flat(shares: _Numbers, size: _Numbers) -> npt.NDArray[np.bool_]:
    return np.asarray(((shares[:, 2:] - shares[:, :2]) * size[:, :2] < _SMALLEST).any(1))
