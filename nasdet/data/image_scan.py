"""One scan of every image file: content hash, size, channels, means.

One decision: each file is decoded once in full, so that damaged files are known before training. The result is kept
beside the cache and reused as long as size and modification time of the file stay the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nasdet.data.images import LENIENT, read_oriented
from nasdet.data.progress import ReadingProgress
from nasdet.data.records import Pixels
from nasdet.errors import InputError
from nasdet.files import atomic_write

_VERSION = 2
_STATS_PIXELS = 65536
_LARGE_FILE = 32 << 20
"""Bytes; files above this size are decoded one at a time, because several at once could take all memory."""
_ONE_LARGE = threading.Lock()
_SMALL_FILE = 16 << 10
"""Bytes; mean size of files below which threads do not pay."""
_BATCH = 32
"""Files that a thread takes at once."""
_BLOCK = 1 << 20


class Scan(NamedTuple):
    """The result for one image file."""

    stamp: tuple[int, int]
    """Bytes and modification time in ns."""
    digest: str
    width: int = 0
    """After EXIF rotation."""
    height: int = 0
    orientation: int = 1
    channels: int = 0
    bits: int = 8
    mean: tuple[float, ...] = ()
    """Of each channel, in stored units."""
    square: tuple[float, ...] = ()
    """Mean square of each channel."""
    error: str = ""
    """Why the file cannot be decoded."""


def scan_images(paths: Sequence[Path], cache_root: Path, *, alpha: bool = False) -> dict[Path, Scan]:
    """Scan every file, in threads; files that were decoded before and have not changed are not read again. One that
    could not be decoded is tried again: a codec may have been installed, a disk be back.

    Args:
        paths: existing files.
        cache_root: where the result is kept.
        alpha: passed on to `read_image`.
    """
    unique = sorted(set(paths), key=str)
    key = hashlib.sha256(repr((_VERSION, alpha, [str(p) for p in unique])).encode()).hexdigest()[:24]
    store = cache_root / "scans" / f"{key}.json"
    known = _load(store)
    stamps = {path: _stamp(path) for path in unique}
    stale = [p for p in unique if (scan := known.get(str(p))) is None or scan.error or scan.stamp != stamps[p]]
    if stale:
        known |= zip(map(str, stale), _scan_all([(path, stamps[path]) for path in stale], alpha), strict=True)
        _store(store, json.dumps(known))
    return {path: known[str(path)] for path in unique}


def _scan_all(files: list[tuple[Path, tuple[int, int]]], alpha: bool) -> Iterator[Scan]:
    """In threads, so many files a task that the tasks cost nothing. Small files are read by one thread: decoding them
    is mostly Python's own work, at which two threads take a tenth longer than one."""
    is_small = sum(stamp[0] for _, stamp in files) < _SMALL_FILE * len(files)
    threads = 1 if is_small else min(16, os.cpu_count() or 1)
    batches = [files[i : i + _BATCH] for i in range(0, len(files), _BATCH)]
    with (
        LENIENT,
        ThreadPoolExecutor(threads) as pool,
        ReadingProgress("images decoded", len(files)) as progress,
    ):
        for scans in pool.map(lambda batch: [_scan(path, stamp, alpha) for path, stamp in batch], batches):
            yield from scans
            progress.advance(len(scans))


def _store(path: Path, content: str) -> None:
    try:
        atomic_write(path, content)
    except OSError as error:
        raise InputError(
            f"the cache cannot be written ({error.strerror})", where=str(path.parent),
            remedy="set NASDET_HOME to a folder with space that you may write to",
        ) from None  # fmt: skip


def _load(store: Path) -> dict[str, Scan]:
    try:
        stored: dict[str, list[Any]] = json.loads(store.read_text())
        rows = ((path, [tuple(v) if isinstance(v, list) else v for v in row]) for path, row in stored.items())
        return {path: Scan._make(row) for path, row in rows}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _scan(path: Path, stamp: tuple[int, int], alpha: bool) -> Scan:
    with _ONE_LARGE if stamp[0] > _LARGE_FILE else contextlib.nullcontext():
        return _decode(path, stamp, alpha)


def _decode(path: Path, stamp: tuple[int, int], alpha: bool) -> Scan:
    try:
        digest = _digest(path, stamp[0])
        pixels, orientation = read_oriented(path, alpha=alpha)
    except InputError as error:
        return Scan(stamp, "", error=error.what)
    except OSError as error:
        return Scan(stamp, "", error=str(error.strerror))
    height, width, channels = pixels.shape
    mean, square = _moments(pixels)
    return Scan(stamp, digest, width, height, orientation, channels, pixels.dtype.itemsize * 8, mean, square)


def _digest(path: Path, size: int) -> str:
    """Hash of the content; a small file is read at once, which takes a quarter of the time."""
    if size <= _BLOCK:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _moments(pixels: Pixels) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and mean square of each channel over a regular grid of about 65,536 pixels at most."""
    step = max(1, math.ceil(math.sqrt(pixels.shape[0] * pixels.shape[1] / _STATS_PIXELS)))
    grid = pixels[::step, ::step].reshape(-1, pixels.shape[2]).astype(np.float32)
    mean = grid.mean(0, dtype=np.float64)
    square = (grid * grid).mean(0, dtype=np.float64)
    return tuple(map(float, mean)), tuple(map(float, square))
