"""The images of a split, decoded and fitted into the canvas once.

One decision: one `.npy` memory map for each split and canvas size, named by a hash of the content, so that all
processes of the machine share the same pages and a changed image makes a new file. It is written under
another name and renamed, so that no process sees half of it.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import fcntl
import functools
import hashlib
import itertools
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from nasdet.data.images import read_image
from nasdet.data.large_images import Scene, open_scene
from nasdet.data.records import DatasetInfo, Flags, ImageRecord, Pixels, Target
from nasdet.errors import InputError

CACHE_LIMIT = 32 << 30
"""Bytes that all arrays under one cache root may take together."""
DECODED = 2 << 30
"""Bytes of decoded whole images that may be in memory at the same time while a cache is written."""
_VERSION = 1
Places = npt.NDArray[np.float64]


def fitted_size(height: int, width: int, canvas_height: int, canvas_width: int) -> tuple[int, int, float]:
    """Rows, columns and scale of an image that keeps its aspect and just fits the canvas."""
    scale = min(canvas_height / height, canvas_width / width)
    return (
        min(canvas_height, max(1, round(height * scale))),
        min(canvas_width, max(1, round(width * scale))),
        scale,
    )


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Bilinear with antialiasing, `(h, w, C)` of uint8 or uint16 to `(height, width, C)`."""
    if pixels.shape[:2] == (height, width):
        return pixels
    import torch
    from torchvision.transforms.v2 import functional as transforms

    image = torch.from_numpy(pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32)).permute(2, 0, 1)
    sized = transforms.resize(image, [height, width], antialias=True).permute(1, 2, 0)
    if pixels.dtype == np.uint8:
        return sized.numpy()  # type: ignore[no-any-return]
    return sized.round().clamp(0, 65535).numpy().astype(np.uint16)  # type: ignore[no-any-return]


def fit_image(pixels: Pixels, height: int, width: int) -> tuple[Pixels, float]:
    """Fit an image into a canvas as the cache does: the resized image (no padding) and its scale.

    Args:
        pixels: `(h, w, C)` uint8 or uint16.
        height: rows of the canvas.
        width: columns of the canvas.
    """
    rows, columns, scale = fitted_size(pixels.shape[0], pixels.shape[1], height, width)
    return resize(pixels, rows, columns), scale


def with_channels(pixels: Pixels, channels: int, where: str) -> Pixels:
    """The image with the data set's channels; gray is repeated where three are wanted."""
    if pixels.shape[2] == channels:
        return pixels
    if pixels.shape[2] == 1 and channels == 3:
        return np.repeat(pixels, 3, axis=2)
    raise InputError(f"{pixels.shape[2]} channels where {channels} are wanted", where=where)


class CachedSplit:
    """Images and targets of a split at canvas scale.

    It can be pickled, and the pickle holds no pixels: the other process maps the same file.
    """

    def __init__(
        self, info: DatasetInfo, split: str, records: Sequence[ImageRecord], height: int, width: int, *,
        folder: Path, cache_limit: int = CACHE_LIMIT, alpha: bool = False,
    ) -> None:  # fmt: skip
        self.info, self.split, self.records = info, split, records
        self.height, self.width, self.channels = height, width, info.channels
        self.dtype = np.dtype(np.uint8 if info.bits == 8 else np.uint16)
        self._alpha = alpha
        self._sizes = [
            r.tile.fitted(height, width) if r.tile else fitted_size(r.height, r.width, height, width) for r in records
        ]
        self._rows: Sequence[int] = range(len(records))
        self._path = _cache_file(folder, self)
        self._array = self._open(folder, cache_limit)

    def __len__(self) -> int:
        return len(self.records)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None, "on_demand": self.decodes_on_demand}

    def __setstate__(self, state: dict[str, Any]) -> None:
        on_demand = state.pop("on_demand")
        self.__dict__.update(state)
        if not on_demand:
            self._array = _map(self._path)

    @property
    def decodes_on_demand(self) -> bool:
        """Whether every image is decoded each time it is asked for, because the split exceeds the cache's limit."""
        return self._array is None

    def share(self, share: float) -> Self:
        """This split with only a share of its images, at least one, from the same pixels.

        Images are chosen in the order of their content's hash, so that a smaller share is part of a larger one.
        """
        count = max(1, round(share * len(self)))
        if count == len(self):
            return self
        chosen = sorted(sorted(range(len(self)), key=lambda i: self.records[i].digest)[:count])
        part = copy.copy(self)
        part.records = [self.records[i] for i in chosen]
        part._sizes = [self._sizes[i] for i in chosen]
        part._rows = [self._rows[i] for i in chosen]
        return part

    def image(self, i: int) -> Pixels:
        """`(h', w', C)` pixels of the valid region, h' <= height and w' <= width."""
        rows, columns, _ = self._sizes[i]
        return self._decode(i) if self._array is None else self._array[self._rows[i], :rows, :columns]

    def target(self, i: int, *, masks: bool = False) -> Target:
        """Objects of an image in canvas pixels, with their masks if asked for."""
        record, scale = self.records[i], self._sizes[i][2]
        boxes = record.boxes * np.float32(scale)
        if not masks:
            return Target(boxes, record.labels, record.crowd)
        own = record.masks or (None,) * len(boxes)
        return Target(boxes, record.labels, record.crowd, tuple(m and m.scaled(scale, scale) for m in own))

    def image_id(self, i: int) -> int:
        """Id of the image in `Dataset.coco`."""
        return self.records[i].id

    def scale(self, i: int) -> float:
        """Canvas pixels per original pixel."""
        return self._sizes[i][2]

    def original_size(self, i: int) -> tuple[int, int]:
        """Height and width of the image before fitting, and before it was cut into tiles."""
        record = self.records[i]
        return (record.tile.image_height, record.tile.image_width) if record.tile else (record.height, record.width)

    def in_original(self, i: int, boxes: Places) -> tuple[Places, Flags]:
        """Boxes `(n, 4)` of the canvas in pixels of the original image, and which of them to keep, `(n,)`: all but
        those that another tile of the image shows better."""
        boxes, tile = boxes / self.scale(i), self.records[i].tile
        if tile is None:
            return boxes, np.ones(len(boxes), np.bool_)
        return boxes + np.array([tile.left, tile.top] * 2), tile.owns(boxes)

    def _decode(self, i: int, scene: Scene | None = None) -> Pixels:
        """Pixels of an image or tile at canvas scale; a tile is read from `scene` if that is given."""
        record, tile = self.records[i], self.records[i].tile
        if tile is None:
            pixels = read_image(record.path, alpha=self._alpha)
        else:
            scene = scene or _last_scene(record.path, self._alpha, record.digest.split()[0])
            pixels = scene.part(tile.top, tile.left, tile.height, tile.width)
        return resize(with_channels(pixels, self.channels, str(record.path)), *self._sizes[i][:2])

    def _open(self, folder: Path, cache_limit: int) -> np.memmap | None:
        shape = (len(self), self.height, self.width, self.channels)
        size = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        if size > cache_limit:
            return None
        if not self._path.is_file():
            # Of several processes that start at once one writes; the others wait for the lock and then find the file.
            with _writable(folder), _locked(folder / f"{self._path.stem}.lock"):
                if not self._path.is_file() and not self._write(folder, shape, size, cache_limit):
                    return None
        with contextlib.suppress(OSError):  # `_make_room` removes the files used longest ago
            os.utime(self._path)
        return _map(self._path)

    def _write(self, folder: Path, shape: tuple[int, ...], size: int, cache_limit: int) -> bool:
        """Decode the whole split into a new file; False if the disk has no room for it."""
        for left in folder.glob(f"{self._path.stem}-*.tmp"):  # by a process that was killed: the lock is ours
            left.unlink(missing_ok=True)
        _make_room(folder, cache_limit - size)
        handle, name = tempfile.mkstemp(dir=folder, prefix=f"{self._path.stem}-", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        try:
            array = np.lib.format.open_memmap(temporary, mode="w+", dtype=self.dtype, shape=shape)
            if not _reserve(temporary):
                return False
            with ThreadPoolExecutor(self._decoders()) as pool:
                for _ in pool.map(lambda own: self._fill(array, own), self._files()):
                    pass
            array.flush()
            temporary.chmod(0o644)
            temporary.replace(self._path)
            return True
        finally:
            temporary.unlink(missing_ok=True)

    def _fill(self, array: np.memmap, indices: Sequence[int]) -> None:
        """Decode the images or tiles `indices`, which all come from one file, into their rows of the array."""
        first = self.records[indices[0]]
        scene = open_scene(first.path, alpha=self._alpha) if first.tile else None
        for i in indices:
            pixels = self._decode(i, scene)
            array[i, : pixels.shape[0], : pixels.shape[1]] = pixels

    def _files(self) -> list[list[int]]:
        """Indices grouped by image file: all tiles of an image together, a whole image by itself."""
        tiles = itertools.groupby(range(len(self)), lambda i: (self.records[i].path, self.records[i].tile is None or i))
        return [list(own) for _, own in tiles]

    def _decoders(self) -> int:
        """Number of threads that decode, so that the whole images they hold take at most `DECODED` bytes."""
        pixels = max((math.prod(self.original_size(i)) for i in range(len(self))), default=1)
        most = DECODED // (pixels * self.channels * self.dtype.itemsize)
        return max(1, min(16, os.cpu_count() or 1, most))


@functools.lru_cache(maxsize=1)
def _last_scene(path: Path, alpha: bool, digest: str) -> Scene:
    """The image that a tile was last read from stays open: tiles of one image mostly follow each other."""
    return open_scene(path, alpha=alpha)


def _cache_file(folder: Path, split: CachedSplit) -> Path:
    state = hashlib.sha256(f"{_VERSION} {split.height} {split.width} {split.channels} {split.dtype}".encode())
    for record in split.records:
        state.update(record.digest.encode())
    return folder / f"{state.hexdigest()[:24]}.npy"


def _map(path: Path) -> np.memmap:
    """Map a file copy-on-write: torch takes such pages without a warning, and writing to them does not change the
    file."""
    return np.lib.format.open_memmap(path, mode="c")


@contextlib.contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(
            f"the cache cannot be written ({error.strerror})", where=str(folder),
            remedy="set NASDET_HOME to a folder with space that you may write to",
        ) from None  # fmt: skip


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process write at a time. On file systems without locks several may write, which costs only time."""
    with path.open("w") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _reserve(path: Path) -> bool:
    """Allocate the blocks of a sparse file, and say whether there was room. Writing to a map on a full disk would
    otherwise kill the process."""
    if not hasattr(os, "posix_fallocate"):  # macOS
        return True
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            return error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return True


def _make_room(folder: Path, limit: int) -> None:
    """Remove the arrays used longest ago until all together take at most `limit` bytes."""
    with contextlib.suppress(OSError):
        files = sorted(folder.glob("*.npy"), key=lambda p: p.stat().st_mtime, reverse=True)
        total = 0
        for path in files:
            total += path.stat().st_size
            if total > limit:
                path.unlink(missing_ok=True)
