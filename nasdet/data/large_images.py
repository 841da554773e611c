"""Reading parts of image files that are too large to hold as a whole.

Only what a part needs is read where the format allows it (.npy and uncompressed, tiled or stripped TIFF); any other
file is decoded once, and parts are cut from its pixels.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from nasdet.data.images import (
    ORIENTATION,
    bands_last,
    check_size,
    check_tiff_pages,
    decoding,
    pillow_pixels,
    read_image,
    stored_units,
)
from nasdet.data.records import Pixels
from nasdet.errors import InputError

Read = Callable[[int, int, int, int], Pixels]
"""Top, left, height and width to `(height, width, bands)`."""
ImageLike = str | Path | npt.NDArray[Any] | Image.Image
"""An image file, an array `(h, w)` or `(h, w, C)` of uint8 or uint16, or a Pillow image."""


class Scene:
    """An image file of which parts are read; the pixels are those that `read_image` gives."""

    def __init__(self, path: Path, height: int, width: int, read: Read) -> None:
        self.path, self.height, self.width, self._read = path, height, width, read

    def part(self, top: int, left: int, height: int, width: int) -> Pixels:
        """`(height, width, C)` uint8 or uint16; InputError if it cannot be decoded."""
        with decoding(self.path):
            return np.array(stored_units(self._read(top, left, height, width)), order="C")

    def strips(self, rows: int) -> Iterator[Pixels]:
        """The image from top to bottom in strips of `rows` rows, the last one of fewer where they do not divide it."""
        for top in range(0, self.height, rows):
            yield self.part(top, 0, min(rows, self.height - top), self.width)


def open_scene(path: Path, *, alpha: bool = False) -> Scene:
    """Open an image file to read parts of it.

    Args:
        path: any file that `read_image` reads.
        alpha: keep the fourth channel of RGBA files as a band.

    Raises:
        InputError: it is missing or cannot be decoded.
    """
    opener = _OPENERS.get(path.suffix.lower())
    if opener is not None and path.is_file():
        with decoding(path):
            scene = opener(path)
        if scene is not None:
            return scene
    return array_scene(path, read_image(path, alpha=alpha))


def array_scene(path: Path, pixels: Any) -> Scene:
    """The scene of `(height, width, bands)` pixels in memory, or in a memory map; `path` names it in messages."""

    def read(top: int, left: int, height: int, width: int) -> Pixels:
        part: Pixels = pixels[top : top + height, left : left + width]
        return part

    return Scene(path, pixels.shape[0], pixels.shape[1], read)


def _open_npy(path: Path) -> Scene | None:
    pixels = bands_last(np.load(path, mmap_mode="r", allow_pickle=False))
    return array_scene(path, pixels) if _is_plain(pixels.dtype) else None


def _open_tiff(path: Path) -> Scene | None:
    import tifffile

    file = tifffile.TiffFile(path)  # stays open as long as its scene
    scene = _of_tiff(path, file)
    if scene is None:
        file.close()
    return scene


def _of_tiff(path: Path, file: Any) -> Scene | None:
    """The scene of an open TIFF file; None where its parts cannot be read by themselves, or where `read_image` would
    change the pixels that are stored."""
    import tifffile

    check_tiff_pages(file)
    page, series = file.pages[0], file.series[0]
    turned = page.tags.get(ORIENTATION)
    meant = page.photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.MINISBLACK)
    if not meant or (turned and turned.value != 1) or not _is_plain(page.dtype):
        return None
    if series.dataoffset is not None:
        return array_scene(path, bands_last(tifffile.memmap(path, mode="r", series=0), series.axes))
    if len(series) > 1 or page.planarconfig != 1 or page.imagedepth != 1:
        return None
    tall, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    check_size(path, min(tall, page.imagelength), wide, page.samplesperpixel * page.dtype.itemsize)
    read = functools.partial(_read_segments, page, min(tall, page.imagelength), wide)
    try:
        read(0, 0, 1, 1)
    except ValueError:  # a compression that tifffile leaves to an extra package
        return None
    return Scene(path, page.imagelength, page.imagewidth, read)


def _read_segments(page: Any, tall: int, wide: int, top: int, left: int, height: int, width: int) -> Pixels:
    """Decode the tiles or strips, each `(tall, wide)`, of a TIFF page that a part touches, and join them."""
    across = math.ceil(page.imagewidth / wide)
    part = np.zeros((height, width, page.samplesperpixel), page.dtype)
    # Numbers of the first and last segment that the part touches, down and across.
    rows = range(top // tall, (top + height - 1) // tall + 1)
    columns = range(left // wide, (left + width - 1) // wide + 1)
    for row, column in itertools.product(rows, columns):
        index = row * across + column
        page.parent.filehandle.seek(page.dataoffsets[index])
        data = page.parent.filehandle.read(page.databytecounts[index])
        segment = page.decode(data, index, jpegtables=page.jpegtables)[0]
        if segment is None:  # never written: zeros
            continue
        # The intersection of segment and part, in pixels of the page, is copied.
        y, x = row * tall, column * wide
        y0, y1, x0, x1 = max(top, y), min(top + height, y + tall), max(left, x), min(left + width, x + wide)
        part[y0 - top : y1 - top, x0 - left : x1 - left] = segment[0, y0 - y : y1 - y, x0 - x : x1 - x]
    return part


def _is_plain(dtype: Any) -> bool:
    """Whether `stored_units` treats each value by itself, so that a part can be converted without the rest."""
    return np.dtype(dtype).newbyteorder("=") in (np.uint8, np.uint16)


_OPENERS: dict[str, Callable[[Path], Scene | None]] = {".npy": _open_npy, ".tif": _open_tiff, ".tiff": _open_tiff}


def scene_of(image: ImageLike | Scene, *, alpha: bool = False) -> Scene:
    """An image of which parts are read.

    Args:
        image: a file, an array, a Pillow image, or a scene, which is returned as it is.
        alpha: keep the fourth channel of RGBA images as a band.
    """
    if isinstance(image, Scene):
        return image
    if isinstance(image, str | Path):
        return open_scene(Path(image), alpha=alpha)
    if isinstance(image, Image.Image):
        return array_scene(Path("image"), pillow_pixels(ImageOps.exif_transpose(image), alpha=alpha))
    pixels = np.asarray(image)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise InputError(f"shape {np.shape(image)} is not (height, width) or (height, width, channels)", where="image")
    return array_scene(Path("image"), pixels)
