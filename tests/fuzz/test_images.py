"""Image files of every format, damaged."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nasdet.data.image_scan import scan_images
from nasdet.data.images import read_image
from nasdet.data.large_images import open_scene
from tests.fuzz.guard import Guard
from tests.fuzz.strategies import damaged_bytes

Again = Callable[[Callable[[], None]], None]
PILLOW = {"jpg": "RGB", "png": "RGBA", "bmp": "RGB", "gif": "P", "webp": "RGB", "ppm": "RGB", "pgm": "L"}
TIFFS = {
    "plain": {}, "tiles": {"tile": (16, 16)}, "zlib": {"compression": "zlib"}, "planes": {"planarconfig": "separate"},
}  # fmt: skip


def content(kind: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    file = io.BytesIO()
    if kind in PILLOW:
        name = {"jpg": "JPEG", "pgm": "PPM"}.get(kind, kind.upper())
        exif = Image.Exif()
        exif[274] = 6
        extra = {"exif": exif} if kind in ("jpg", "png", "webp") else {}
        Image.fromarray(pixels).convert(PILLOW[kind]).save(file, format=name, **extra)
    elif kind == "npy":
        np.save(file, pixels)
    else:
        stored = np.moveaxis(pixels, 2, 0) if kind == "planes" else pixels
        tifffile.imwrite(file, stored, photometric="rgb", **TIFFS[kind])
    return file.getvalue()


@pytest.mark.parametrize("kind", [*PILLOW, "npy", *TIFFS])
def test_damaged_files(guard: Guard, again: Again, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"x.{'tif' if kind in TIFFS else kind}"
    good = content(kind)

    @given(damaged_bytes(good))
    def check(data: bytes) -> None:
        path.write_bytes(data)
        with guard.example():
            read_image(path, alpha=True)
        with guard.example():
            scene = open_scene(path)
            scene.part(0, 0, min(scene.height, 9), min(scene.width, 9))
        with guard.example():
            scan_images([path], tmp_path / "cache")

    again(check)


def test_any_bytes_under_any_name(guard: Guard, again: Again, tmp_path: Path) -> None:
    starts = [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"BM",
        b"GIF89a",
        b"II*\0",
        b"MM\0+",
        b"\x93NUMPY\1\0",
        b"PK\3\4",
    ]
    starts += [
        b"RIFF\x20\0\0\0WEBPVP8 ",
        b"P6 ",
        b"P5\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"8BPS",
        b"\0\0\0\x0cjP  \r\n\x87\n",
    ]
    names = st.sampled_from([*PILLOW, "npy", "tif"])

    @given(names, st.sampled_from(starts), st.binary(max_size=80))
    def check(suffix: str, start: bytes, rest: bytes) -> None:
        path = tmp_path / f"x.{suffix}"
        path.write_bytes(start + rest)
        with guard.example():
            read_image(path)

    again(check)
