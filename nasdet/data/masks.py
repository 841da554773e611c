"""Masks: which pixels an object covers.

One decision: a mask stays as the annotation states it (polygons or runs) and is rasterised only for the part of the
image that a sample shows, in the rectangle that it covers, so that training without masks costs nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

Bitmap = npt.NDArray[np.bool_]
"""`(height, width)`."""
Points = npt.NDArray[np.float64]
"""`(n, 2)` x, y."""
POLYGON_POINTS = 3
"""Points of the smallest polygon."""
MOST_PIXELS = 1 << 30
"""Of the grid of run lengths."""


class Patch(NamedTuple):
    """The rectangle of a canvas that a mask covers."""

    top: int
    left: int
    pixels: Bitmap
    """Whole rows and columns from `top`, `left`; outside of them the mask is empty."""

    def moved(self, down: int, right: int) -> Patch:
        """The patch elsewhere."""
        return Patch(self.top + down, self.left + right, self.pixels)

    def flipped(self, height: int, width: int, *, vertical: bool, horizontal: bool) -> Patch:
        """The patch of the flipped `height` x `width` canvas."""
        rows, columns = self.pixels.shape
        top = height - self.top - rows if vertical else self.top
        left = width - self.left - columns if horizontal else self.left
        return Patch(top, left, self.pixels[:: -1 if vertical else 1, :: -1 if horizontal else 1])


class Window(NamedTuple):
    """A part of an image and the size to which it is resized, in whole pixels."""

    height: int
    """Of the whole image."""
    width: int
    top: int
    """Of the part."""
    left: int
    rows: int
    """Of the part, before it is resized."""
    columns: int
    tall: int
    """Of the part, as shown."""
    wide: int


@dataclasses.dataclass(frozen=True, eq=False)
class Polygons:
    """The union of the insides of polygons, in the same unit as the object's box."""

    parts: tuple[Points, ...]

    def scaled(self, x: float, y: float) -> Polygons:
        """Coordinates times a factor."""
        return Polygons(tuple(part * np.array([x, y]) for part in self.parts))

    def show(self, window: Window) -> Patch | None:
        """The part of the mask inside a window, in pixels of the resized window; None if it is empty."""
        factor = np.array([window.wide / window.columns, window.tall / window.rows])
        parts = [(part - np.array([window.left, window.top])) * factor for part in self.parts]
        low = np.clip(np.floor(np.min([p.min(0) for p in parts], 0)), 0, None).astype(int)
        high = np.minimum(np.ceil(np.max([p.max(0) for p in parts], 0)), [window.wide, window.tall]).astype(int)
        if (high <= low).any():
            return None
        pixels = _fill([part - low for part in parts], int(high[1] - low[1]), int(high[0] - low[0]))
        return Patch(int(low[1]), int(low[0]), pixels)

    def part(self, height: int, width: int, top: int, left: int, rows: int, columns: int) -> Polygons:
        """The mask of a part of a `height` x `width` image, in pixels of the part; points may leave it."""
        return Polygons(tuple(points - np.array([left, top]) for points in self.parts))

    def to_coco(self, height: int, width: int) -> list[list[float]]:
        """The value of a COCO `segmentation`; polygons do not depend on the image's size."""
        return [part.ravel().tolist() for part in self.parts]

    def box(self, size: tuple[int, int] | None) -> tuple[float, float, float, float]:
        """The extent, xyxy; polygons do not depend on the image's size."""
        points = np.concatenate(self.parts)
        (left, top), (right, bottom) = points.min(0), points.max(0)
        return float(left), float(top), float(right), float(bottom)

    def tobytes(self) -> bytes:
        """Content, to be hashed."""
        return b"".join(len(part).to_bytes(4, "little") + part.tobytes() for part in self.parts)


@dataclasses.dataclass(frozen=True, eq=False)
class Runs:
    """COCO's run-length code over a grid of pixels that covers the image; mostly it is the image's own grid, but a mask
    may be stated at another resolution."""

    height: int
    width: int
    counts: bytes
    """COCO's compressed run lengths, column by column: of empty pixels, of full ones, of empty ones, and so on."""

    @classmethod
    def of(cls, pixels: Bitmap) -> Runs:
        """The code of a bitmap."""
        code = coco_mask.encode(np.asfortranarray(pixels, np.uint8))
        return cls(pixels.shape[0], pixels.shape[1], code["counts"])

    def bitmap(self) -> Bitmap:
        """All pixels of the own grid."""
        pixels: Bitmap = coco_mask.decode(self._code()).view(np.bool_)
        return pixels

    def area(self) -> int:
        """Full pixels."""
        return int(coco_mask.area(self._code()))

    def box(self, size: tuple[int, int] | None) -> tuple[float, float, float, float]:
        """The extent, xyxy in pixels of an image of this width and height; None: of the grid."""
        left, top, width, height = map(float, coco_mask.toBbox(self._code()))
        x, y = (size[0] / self.width, size[1] / self.height) if size else (1.0, 1.0)
        return left * x, top * y, (left + width) * x, (top + height) * y

    def _code(self) -> dict[str, Any]:
        return {"size": [self.height, self.width], "counts": self.counts}

    def scaled(self, x: float, y: float) -> Runs:
        """Itself: the grid is stretched over the image, whatever its size."""
        return self

    def show(self, window: Window) -> Patch | None:
        """The part of the mask inside a window, in pixels of the resized window, each by the nearest pixel of the grid;
        None if it is empty."""
        # Centres of the resized pixels, in pixels of the whole image.
        y = window.top + (np.arange(window.tall) + 0.5) * window.rows / window.tall
        x = window.left + (np.arange(window.wide) + 0.5) * window.columns / window.wide
        seen = self.bitmap()[np.ix_(_nearest(y, window.height, self.height), _nearest(x, window.width, self.width))]
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        if not len(rows):
            return None
        top, left = int(rows[0]), int(columns[0])
        return Patch(top, left, seen[top : rows[-1] + 1, left : columns[-1] + 1])

    def part(self, height: int, width: int, top: int, left: int, rows: int, columns: int) -> Runs:
        """The mask of a part of a `height` x `width` image."""
        shown = self.show(Window(height, width, top, left, rows, columns, rows, columns))
        return Runs.of(_whole(shown, rows, columns))

    def to_coco(self, height: int, width: int) -> dict[str, Any]:
        """The value of a COCO `segmentation` of an image of this size, compressed, as JSON takes it."""
        same = (height, width) == (self.height, self.width)
        own = self if same else self.part(height, width, 0, 0, height, width)
        return {"size": [height, width], "counts": own.counts.decode()}

    def tobytes(self) -> bytes:
        """Content, to be hashed."""
        return f"{self.height}x{self.width} ".encode() + self.counts


Mask = Polygons | Runs


class BadMask(ValueError):
    """A segmentation that states no mask; the text names the kind of defect."""


def parse_segmentation(value: Any) -> Mask | None:
    """The mask that a COCO `segmentation` states: polygons, or runs, compressed or not; None where it states none.

    Raises:
        BadMask: it cannot be read.
    """
    if value in (None, [], {}):
        return None
    if isinstance(value, list):
        return parse_polygons(value)
    if isinstance(value, dict):
        return _parse_runs(value)
    raise BadMask("malformed mask")


def parse_polygons(polygons: Sequence[Any]) -> Polygons:
    """Polygons from flat lists x1, y1, x2, y2, ...; BadMask if any of them is none."""
    if not all(isinstance(p, list) and len(p) % 2 == 0 and all(_finite(v) for v in p) for p in polygons):
        raise BadMask("malformed mask")
    if any(len(p) < 2 * POLYGON_POINTS for p in polygons):
        raise BadMask("mask polygon with too few points")
    return Polygons(tuple(np.array(p, np.float64).reshape(-1, 2) for p in polygons))


def stack(patches: Sequence[Patch | None], out: Bitmap) -> None:
    """Draw each patch into its plane of `out` `(n, H, W)`, which is empty."""
    for patch, plane in zip(patches, out, strict=True):
        if patch is not None:
            rows, columns = patch.pixels.shape
            plane[patch.top : patch.top + rows, patch.left : patch.left + columns] = patch.pixels


def _parse_runs(value: dict[str, Any]) -> Runs:
    size, counts = value.get("size"), value.get("counts")
    if not (isinstance(size, list) and len(size) == 2 and all(_whole_number(v) and v > 0 for v in size)):
        raise BadMask("malformed mask")
    height, width = map(int, size)
    if height * width > MOST_PIXELS:
        raise BadMask("mask of too many pixels")
    if isinstance(counts, str):
        counts = counts.encode("ascii", "replace")
        lengths = _run_lengths(counts)
    elif isinstance(counts, list) and all(map(_whole_number, counts)):
        lengths = list(map(int, counts))
        counts = b""
    else:
        raise BadMask("malformed mask")
    # pycocotools reads past such codes instead of refusing them
    if min(lengths, default=-1) < 0 or sum(lengths) != height * width:
        raise BadMask("mask runs that do not fill their size")
    counts = counts or coco_mask.frPyObjects({"size": [height, width], "counts": lengths}, height, width)["counts"]
    return Runs(height, width, counts)


def _run_lengths(counts: bytes) -> list[int]:
    """Run lengths of COCO's compressed code.

    A byte holds 5 bits of a number, the lowest ones first; its sixth bit says whether more bytes of the number follow,
    and the fifth bit of the last byte is the sign. From the fourth run on the number is the difference to the run
    before the last one.
    """
    lengths: list[int] = []
    value = shift = 0
    for byte in counts:
        digit = byte - 48
        if not 0 <= digit < 64 or shift > 35:
            raise BadMask("malformed mask")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise BadMask("malformed mask")
    return lengths


def _fill(parts: Sequence[Points], height: int, width: int) -> Bitmap:
    """Rasterise the union of polygons as COCO does; what lies outside `height` x `width` is cut off."""
    codes = coco_mask.frPyObjects([part.ravel() for part in parts], height, width)
    filled: Bitmap = coco_mask.decode(coco_mask.merge(codes)).view(np.bool_)
    return filled


def _whole(patch: Patch | None, height: int, width: int) -> Bitmap:
    pixels: Bitmap = np.zeros((height, width), np.bool_)
    stack([patch], pixels[None])
    return pixels


def _nearest(positions: Points, extent: int, cells: int) -> npt.NDArray[np.int64]:
    """Indices of the cells, of a grid of `cells` over 0..extent, in which positions lie."""
    found = np.clip(np.floor(positions * cells / extent), 0, cells - 1)
    return found.astype(np.int64)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _whole_number(value: Any) -> bool:
    return _finite(value) and value == value // 1
