"""Reading image files.

Every image becomes `(height, width, channels)` uint8 or uint16 in stored units, upright (EXIF orientation applied).
Palettes become RGB, one-bit images become 0 and 255, and transparency is dropped, except in TIFF and .npy files, where
every band counts.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import math
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from nasdet.data.records import AnyBoxes, Pixels
from nasdet.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".npy", ".webp", ".gif", ".ppm", ".pgm")
ORIENTATION = 274
"""Tag of EXIF and TIFF."""
_DIRECT_MODES = {"L", "RGB", "I;16", "I;16B", "I;16L", "I;16N"}

_NEW = ("AVIF",) if importlib.util.find_spec("PIL.AvifImagePlugin") else ()
_FORMATS = ("BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP", *_NEW)
"""What Pillow may take a file for. Its other readers are old and little used, and that of EPS starts a program."""
_MOST_PIXELS = 1 << 30
"""Pillow's own limit, above which it warns and from twice as many on refuses an image, is too low for large images."""
_BOMB_PIXELS, _BOMB_RATIO = 1 << 25, 256
"""A file with more pixels, and more of them for each of its bytes, holds one colour only and is there to fill the
memory. Photographs have 1 to 20 pixels a byte."""
_MEMORY_SHARE = 3
"""Decoding takes this many times the bytes of the pixels."""


class UnreadableImage(InputError):
    """An image is missing or damaged."""


def is_image(path: Path) -> bool:
    """Whether the name says that this is an image that can be read."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def check_size(path: Path, height: int, width: int, pixel_bytes: int) -> None:
    """Raise UnreadableImage, before anything is decoded, if a file would take more memory than an image should.

    Args:
        path: the file.
        height: rows, as its header states them.
        width: columns.
        pixel_bytes: bytes of a decoded pixel.
    """
    pixels, stored = height * width, path.stat().st_size
    said = f"{width}x{height} pixels"
    if pixels > _BOMB_PIXELS and pixels > _BOMB_RATIO * stored:
        raise UnreadableImage(
            f"claims {said} in {stored} bytes", where=str(path), remedy="if they are true, save it uncompressed"
        )
    if pixels > _MOST_PIXELS or _MEMORY_SHARE * pixels * pixel_bytes > _memory():
        raise UnreadableImage(f"{said} take too much memory", where=str(path), remedy="cut it into parts")


@functools.cache
def _memory() -> int:
    """Bytes of the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def read_image(path: str | Path, *, alpha: bool = False) -> Pixels:
    """Read PNG, JPEG, BMP, WebP, TIFF (any number of bands) or .npy.

    Args:
        path: the file.
        alpha: keep the fourth channel of RGBA files as a band.

    Returns:
        `(height, width, channels)` uint8 or uint16, upright.

    Raises:
        InputError: the file is missing or cannot be decoded.
    """
    return read_oriented(Path(path), alpha=alpha)[0]


def read_oriented(path: Path, *, alpha: bool = False) -> tuple[Pixels, int]:
    """As `read_image`, with the EXIF orientation (1..8) that was undone."""
    if not path.is_file():
        raise UnreadableImage("no such image", where=str(path))
    suffix = path.suffix.lower()
    with decoding(path):
        if suffix == ".npy":
            pixels, orientation = bands_last(np.load(path, mmap_mode="r", allow_pickle=False)), 1
        elif suffix in (".tif", ".tiff"):
            pixels, orientation = _read_tiff(path)
        else:
            pixels, orientation = _read_pillow(path, alpha)
        return np.ascontiguousarray(upright(stored_units(pixels), orientation)), orientation


class _LenientDecoders:
    """While any thread is in this block, decoders do not warn and Pillow takes large images.

    Both are switches of the whole process: the first thread sets them, and the last one to leave puts them back.
    """

    def __init__(self) -> None:
        self._lock, self._threads, self._before = threading.Lock(), 0, contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._threads += 1
            if self._threads == 1:
                self._before.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
                self._before.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
                Image.MAX_IMAGE_PIXELS = _MOST_PIXELS

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._threads -= 1
            if self._threads == 0:
                self._before.close()


LENIENT = _LenientDecoders()


@contextlib.contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises into an InputError of one line that names the file."""
    try:
        with LENIENT:
            yield
    except InputError:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage("not an image in a known format", where=str(path)) from None
    except MemoryError:
        raise
    except Exception as error:  # decoders raise whatever they like on damaged files
        raise UnreadableImage(f"cannot be decoded ({str(error) or type(error).__name__})", where=str(path)) from error


def _read_pillow(path: Path, alpha: bool) -> tuple[Pixels, int]:
    with Image.open(path, formats=_FORMATS) as image:
        check_size(path, image.height, image.width, len(image.getbands()))
        orientation = int(image.getexif().get(ORIENTATION, 1))
        if image.format == "PNG" and image.mode in ("RGB", "RGBA", "LA") and _png_depth(path) == 16:
            pixels = _read_deep_png(path)
            return (pixels if alpha else pixels[:, :, : 1 if pixels.shape[2] == 2 else 3]), orientation
        return pillow_pixels(image, alpha=alpha), orientation


def pillow_pixels(image: Image.Image, *, alpha: bool = False) -> Pixels:
    """`(height, width, channels)` of an opened image, as stored: its EXIF orientation is not undone."""
    if image.mode not in _DIRECT_MODES and image.mode not in ("I", "F"):
        image = image.convert(_plain_mode(image, alpha))
    return bands_last(np.asarray(image))


def _plain_mode(image: Image.Image, alpha: bool) -> str:
    if image.mode in ("1", "LA", "La"):
        return "L"
    return "RGBA" if alpha and image.mode == "RGBA" else "RGB"


def _png_depth(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(25)[24]


def _read_deep_png(path: Path) -> Pixels:
    """16-bit colour PNG, which Pillow reduces to 8 bits."""
    import torch
    from torchvision.io import ImageReadMode, decode_image

    data = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
    return decode_image(data, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()  # type: ignore[no-any-return]


def _read_tiff(path: Path) -> tuple[Pixels, int]:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        check_tiff_pages(tiff)
        page: Any = tiff.pages[0]
        tag = page.tags.get(ORIENTATION)
        orientation = int(tag.value) if tag else 1
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
            return _read_pillow(path, alpha=False)
        series = tiff.series[0]
        check_size(path, math.prod(series.shape), 1, series.dtype.itemsize)
        try:
            pixels, axes = series.asarray(), series.axes
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            return _read_compressed_tiff(path, str(error))
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and pixels.dtype.kind in "ub":
            pixels = ~pixels if pixels.dtype == bool else np.iinfo(pixels.dtype).max - pixels
    return bands_last(pixels, axes), orientation


def check_tiff_pages(tiff: Any) -> None:
    """Raise `ValueError` if the pages of an open TIFF file lead in a circle, which tifffile follows without end, or the
    first one says that a part of it is larger than the file, for which memory would be taken."""
    handle, form = tiff.filehandle, tiff.tiff
    if max(tiff.pages[0].databytecounts, default=0) > handle.size:
        raise ValueError("it says that it has more bytes than the file")
    order: Literal["little", "big"] = "little" if form.byteorder == "<" else "big"
    seen: set[int] = set()
    offset: int = tiff.pages[0].offset
    while 0 < offset < handle.size:
        if offset in seen:
            raise ValueError("its pages lead in a circle")
        seen.add(offset)
        handle.seek(offset)
        count = int.from_bytes(handle.read(form.tagnosize), order)
        handle.seek(offset + form.tagnosize + count * form.tagsize)
        offset = int.from_bytes(handle.read(form.offsetsize), order)


def _read_compressed_tiff(path: Path, reason: str) -> tuple[Pixels, int]:
    """LZW and JPEG inside TIFF, which tifffile leaves to an extra package and Pillow knows for common band counts."""
    try:
        return _read_pillow(path, alpha=True)
    except Exception as error:
        raise InputError(
            reason.replace('"', ""), where=str(path), remedy="install imagecodecs or store the file uncompressed"
        ) from error


def bands_last(pixels: Pixels, axes: str = "") -> Pixels:
    """`(height, width, bands)` from an array in any common axis order.

    `axes` are the letters by which tifffile names them, such as YXS; without them bands are the shorter outer axis.
    """
    # Axes of length 1 are left out where there are more than two.
    keep = [i for i, n in enumerate(pixels.shape) if n > 1 or pixels.ndim <= 2]
    if len(keep) < pixels.ndim and len(keep) >= 2:
        axes = "".join(axes[i] for i in keep) if len(axes) == pixels.ndim else ""
        pixels = pixels.reshape([pixels.shape[i] for i in keep])
    if pixels.ndim == 2:
        return pixels[:, :, None]
    if pixels.ndim != 3:
        raise ValueError(f"shape {pixels.shape} is not (height, width, bands)")
    # Bands are samples (S) or channels (C); if neither is named, they come first if they are fewer than the columns.
    known = [i for i in (0, 2) if len(axes) == 3 and axes[i] in "SC"]
    first = known[0] == 0 if known else pixels.shape[0] < pixels.shape[2]
    return np.moveaxis(pixels, 0, 2) if first else pixels


def stored_units(pixels: Pixels) -> Pixels:
    """The array as uint8 or uint16; other whole numbers are accepted where their values fit."""
    if 0 in pixels.shape:
        raise ValueError(f"empty, shape {pixels.shape}")
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels.astype(pixels.dtype.newbyteorder("="))
    if pixels.dtype.kind in "iu" and pixels.min() >= 0 and pixels.max() <= 65535:
        return pixels.astype(np.uint16)
    raise ValueError(f"{pixels.dtype} pixels, only 8 and 16 bits (0..65535) are known")


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def upright_boxes(boxes: AnyBoxes, orientation: int, width: int, height: int) -> AnyBoxes:
    """Turn `(n, 4)` xyxy boxes of the pixel grid as stored (`width` x `height`) as `read_image` turns the image."""
    x1, y1, x2, y2 = boxes.T
    if orientation in (5, 6, 7, 8):
        x1, y1, x2, y2 = y1, x1, y2, x2
        width, height = height, width
    if orientation in (2, 3, 6, 7):
        x1, x2 = width - x2, width - x1
    if orientation in (3, 4, 7, 8):
        y1, y2 = height - y2, height - y1
    return np.stack([x1, y1, x2, y2], 1)
