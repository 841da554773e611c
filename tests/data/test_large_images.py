"""Parts of image files are the same pixels as the whole file's, and reading them holds no more than a part."""

from __future__ import annotations

import functools
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from nasdet.data import read_image
from nasdet.data.contact_sheet import preview
from nasdet.data.large_images import Scene, open_scene
from nasdet.errors import InputError


@pytest.fixture(scope="module")
def photo(shared_data: Path) -> np.ndarray:
    """A real image, 480 x 640 x 3."""
    return read_image(shared_data / "bccd" / "JPEGImages" / "BloodImage_00000.jpg")


RGB: dict[str, Any] = {"photometric": "rgb"}
GRAY: dict[str, Any] = {"photometric": "minisblack"}
TIFFS: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain": (lambda a: a, RGB),
    "tiled": (lambda a: a, {**RGB, "tile": (64, 80)}),
    "tiled_zlib": (lambda a: a, {**RGB, "tile": (64, 64), "compression": "zlib"}),
    "strips_zlib": (lambda a: a, {**RGB, "rowsperstrip": 32, "compression": "zlib"}),
    "planes": (lambda a: np.moveaxis(a, 2, 0), {**RGB, "planarconfig": "separate"}),
    "tiled_planes": (lambda a: np.moveaxis(a, 2, 0), {**RGB, "planarconfig": "separate", "tile": (64, 64)}),
    "six_bands": (lambda a: np.concatenate([a, a], 2), {**GRAY, "planarconfig": "contig", "tile": (64, 64)}),
    "deep": (lambda a: a[..., 0].astype(np.uint16) * 200, {**GRAY, "tile": (64, 64)}),
    "big_endian": (lambda a: a[..., 0].astype(">u2"), {**GRAY, "byteorder": ">"}),
    "int32": (lambda a: a[..., 0].astype(np.int32), {**GRAY, "tile": (64, 64)}),
    "inverted": (lambda a: a[..., 0], {"photometric": "miniswhite"}),
    "turned": (lambda a: a, {**RGB, "extratags": [(274, 3, 1, 6, True)]}),
}
PILLOW = {"a.png": {}, "a.jpg": {}, "lzw.tif": {"compression": "tiff_lzw"}, "jpeg.tif": {"compression": "jpeg"}}


def assert_parts(path: Path) -> Scene:
    whole, scene = read_image(path), open_scene(path)
    assert (scene.height, scene.width) == whole.shape[:2]
    height, width = whole.shape[:2]
    for top, left, rows, columns in ((0, 0, height, width), (60, 70, 33, 99), (height - 1, width - 1, 1, 1)):
        part = scene.part(top, left, rows, columns)
        assert part.dtype == whole.dtype and part.flags.writeable
        np.testing.assert_array_equal(part, whole[top : top + rows, left : left + columns])
    np.testing.assert_array_equal(np.concatenate(list(scene.strips(100))), whole)
    return scene


@pytest.mark.parametrize("kind", TIFFS)
def test_parts_of_tiff(kind: str, photo: np.ndarray, tmp_path: Path) -> None:
    change, options = TIFFS[kind]
    tifffile.imwrite(tmp_path / "a.tif", change(photo), **options)
    assert_parts(tmp_path / "a.tif")


@pytest.mark.parametrize("name", PILLOW)
def test_parts_of_what_is_decoded_whole(name: str, photo: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(photo).save(tmp_path / name, **PILLOW[name])
    assert_parts(tmp_path / name)


def test_parts_of_arrays(photo: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.moveaxis(photo, 2, 0).astype(np.uint16))
    assert_parts(tmp_path / "a.npy")


def test_damaged_and_missing_files_are_named(photo: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such image"):
        open_scene(tmp_path / "none.tif")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, photo, photometric="rgb", tile=(64, 64), compression="zlib")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"a\.tif"):
        open_scene(path).part(400, 600, 80, 40)


def written(path: Path, photo: np.ndarray, times: int, **options: Any) -> Path:
    tifffile.imwrite(path, np.tile(photo, (times, times, 1)), photometric="rgb", **options)
    return path


def read_all(scene: Scene) -> None:
    for top in range(0, scene.height - 240, 160):
        scene.part(top, 100, 240, 240)


def peak(work: Callable[[], object]) -> int:
    """Most bytes that Python and numpy held while it ran."""
    tracemalloc.start()
    work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


@pytest.mark.parametrize("options", [{}, {"tile": (256, 256)}, {"tile": (256, 256), "compression": "zlib"}])
def test_memory_does_not_grow_with_the_image(options: dict[str, Any], photo: np.ndarray, tmp_path: Path) -> None:
    reading, looking = [], []
    for times in (1, 2, 4):  # the first warms up
        scene = open_scene(written(tmp_path / f"{times}.tif", photo, times, **options))
        reading.append(peak(functools.partial(read_all, scene)))
        looking.append(peak(functools.partial(preview, scene, 128 * times)))
    assert reading[2] < 1.3 * reading[1]
    assert looking[2] < 4.4 * looking[1]  # the picture is four times as large as well, and strips as wide as it
    assert max(reading[2], looking[2]) < 0.4 * 16 * photo.nbytes


def test_a_preview_is_the_scaled_image(photo: np.ndarray, tmp_path: Path) -> None:
    picture, scale = preview(open_scene(written(tmp_path / "a.tif", photo, 1)), 200)
    assert (picture.size, scale) == ((160, 120), 1 / 4)
    expected = np.asarray(Image.fromarray(photo).resize((160, 120), Image.Resampling.BOX), np.float32)
    assert abs(np.asarray(picture, np.float32) - expected).mean() < 3
    same, scale = preview(open_scene(tmp_path / "a.tif"), 640)
    np.testing.assert_array_equal(np.asarray(same), photo)
    assert scale == 1
