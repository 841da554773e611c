"""Every kind of image file, and the turns of EXIF."""

from __future__ import annotations

import struct
import threading
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, features

from nasdet.data.images import decoding, read_image, read_oriented, upright_boxes
from nasdet.data.large_images import open_scene
from nasdet.errors import InputError


def pixels(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def write_png16(path: Path, image: np.ndarray) -> None:
    """16 bits per channel with 1 to 4 channels, which Pillow cannot write."""
    height, width, channels = image.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in image)

    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm"])
def test_lossless_formats_keep_every_value(tmp_path: Path, suffix: str) -> None:
    image = pixels(9, 7, 3)
    Image.fromarray(image).save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), image)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "LA", "CMYK"])
def test_pillow_modes(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.fromarray(pixels(9, 7, 3)).convert(mode).save(path)
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.shape == (9, 7, 1 if mode in ("L", "1", "LA") else 3)
    if mode == "1":
        assert set(np.unique(image)) == {0, 255}


def test_alpha_is_a_band_on_demand(tmp_path: Path) -> None:
    image = pixels(9, 7, 4)
    Image.fromarray(image).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", alpha=True), image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image[:, :, :3])


@pytest.mark.parametrize(("channels", "kept"), [(1, 1), (2, 1), (3, 3), (4, 3)])
def test_png_of_16_bits(tmp_path: Path, channels: int, kept: int) -> None:
    image = pixels(9, 7, channels, dtype=np.uint16)
    write_png16(tmp_path / "a.png", image)
    read = read_image(tmp_path / "a.png")
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, image[:, :, :kept])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiff_of_any_band_count(tmp_path: Path, dtype: type, bands: int, planar: str) -> None:
    image = pixels(19, 17, bands, dtype=dtype)
    path = tmp_path / "a.tif"
    if bands == 1:
        tifffile.imwrite(path, image[:, :, 0], photometric="minisblack")
    elif planar == "contig":
        tifffile.imwrite(path, image, photometric="minisblack", planarconfig="contig")
    else:
        tifffile.imwrite(path, np.moveaxis(image, 2, 0), photometric="minisblack", planarconfig="separate")
    np.testing.assert_array_equal(read_image(path), image)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_as_written_by_default(tmp_path: Path, compression: str | None) -> None:
    image = pixels(19, 17, 4, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", image, compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)
    tifffile.imwrite(tmp_path / "pages.tif", np.moveaxis(image, 2, 0), photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "pages.tif"), image)


def test_tiff_compressed_by_pillow(tmp_path: Path) -> None:
    image = pixels(19, 17, 3)
    Image.fromarray(image).save(tmp_path / "a.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)


def test_npy_in_either_order(tmp_path: Path) -> None:
    image = pixels(19, 17, 5, dtype=np.uint16)
    for name, array in (("last", image), ("first", np.moveaxis(image, 2, 0)), ("swapped", image.astype(">u2"))):
        np.save(tmp_path / f"{name}.npy", array)
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}.npy"), image)
    np.save(tmp_path / "gray.npy", image[:, :, 0])
    assert read_image(tmp_path / "gray.npy").shape == (19, 17, 1)
    np.save(tmp_path / "int.npy", image.astype(np.int32))
    np.testing.assert_array_equal(read_image(tmp_path / "int.npy"), image)
    np.save(tmp_path / "bool.npy", image[:, :, 0] > 9)
    assert set(np.unique(read_image(tmp_path / "bool.npy"))) <= {0, 255}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_image_and_boxes_alike(tmp_path: Path, orientation: int) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[8:16, 8:40] = 255
    exif = Image.Exif()
    exif[274] = orientation
    for suffix in (".jpg", ".png", ".tif"):
        path = tmp_path / f"a{suffix}"
        Image.fromarray(image).save(path, exif=exif)
        read, found = read_oriented(path)
        assert found == orientation
        assert read.shape[:2] == ((60, 40) if orientation >= 5 else (40, 60))
        rows, columns = np.nonzero(read[:, :, 0] > 128)
        turned = upright_boxes(np.array([[8.0, 8.0, 40.0, 16.0]]), orientation, 60, 40)
        expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_array_equal(turned[0], expected)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.png", None, "no such image"),
        ("text.png", b"hello", "not an image in a known format"),
        ("empty.jpg", b"", "not an image in a known format"),
        ("text.tif", b"hello", "cannot be decoded"),
        ("text.npy", b"hello", "cannot be decoded"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_image(tmp_path / name)
    assert name in str(caught.value)


def test_switches_of_the_process_are_put_back(tmp_path: Path) -> None:
    """Also when threads leave in another order than they came."""
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    inside, leave = threading.Event(), threading.Event()

    def decode() -> None:
        with decoding(tmp_path):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=decode)
    with decoding(tmp_path):
        thread.start()
        assert inside.wait(10) and Image.MAX_IMAGE_PIXELS == 1 << 30 != limit
        warnings.warn("not seen", stacklevel=1)
    assert Image.MAX_IMAGE_PIXELS == 1 << 30  # the thread still decodes
    leave.set()
    thread.join()
    assert limit == Image.MAX_IMAGE_PIXELS and warnings.filters == filters


def test_truncated_jpeg(tmp_path: Path) -> None:
    Image.fromarray(pixels(90, 70, 3)).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"a\.jpg: cannot be decoded \(image file is truncated"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 5), np.float32), "float32 pixels, only 8 and 16 bits"),
        (np.full((4, 5), -1, np.int16), "int16 pixels"),
        (np.zeros((4, 5, 2, 3), np.uint8), r"shape \(4, 5, 2, 3\) is not"),
        (np.zeros((0, 5), np.uint8), "empty"),
        (np.array([{}], object), "cannot be decoded"),
    ],
)
def test_arrays_that_are_no_images(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=message):
        read_image(tmp_path / "a.npy")


@pytest.mark.skipif(not features.check("avif"), reason="Pillow is older, or without AVIF")
def test_avif(tmp_path: Path) -> None:
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:, :12] = 200
    Image.fromarray(pixels).save(tmp_path / "a.avif")
    assert abs(read_image(tmp_path / "a.avif").astype(int) - pixels).mean() < 8


FORMATS = {"jpg": "RGB", "png": "RGBA", "bmp": "RGB", "gif": "P", "webp": "RGB", "ppm": "RGB", "pgm": "L", "tif": "RGB"}


def written(folder: Path, suffix: str, kind: str = "") -> bytes:
    """A small image file of a format."""
    path = folder / f"whole.{suffix}"
    image = pixels(23, 31, 3)
    if suffix == "npy":
        np.save(path, image)
    elif kind:
        tifffile.imwrite(path, image, compression=kind, tile=(16, 16))
    else:
        Image.fromarray(image).convert(FORMATS[suffix]).save(path)
    return path.read_bytes()


@pytest.mark.parametrize(("suffix", "kind"), [*((name, "") for name in (*FORMATS, "npy")), ("tif", "zlib")])
def test_files_cut_off_anywhere_are_refused_or_read(tmp_path: Path, suffix: str, kind: str) -> None:
    whole = written(tmp_path, suffix, kind)
    path, refused = tmp_path / f"cut.{suffix}", 0
    for share in np.linspace(0, 0.98, 25):
        path.write_bytes(whole[: int(share * len(whole))])
        try:
            assert read_image(path).shape[:2] == (23, 31)
        except InputError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
    assert refused >= (1 if suffix in ("webp", "gif") else 20)


def png_header(width: int, height: int) -> bytes:
    """A PNG of one colour as large as its header claims, in a few bytes."""

    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"\0" * 100) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.png", png_header(30_000, 30_000), r"claims 30000x30000 pixels in \d+ bytes; if they are true, save it"),
        ("a.png", png_header(2**31 - 1, 2**31 - 1), "pixels"),
        (
            "a.bmp",
            b"BM" + struct.pack("<IIIIiiHHIIIIII", 0, 0, 54, 40, 40_000, 40_000, 1, 24, *[0] * 6),
            "claims 40000x",
        ),
        ("a.gif", b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b",", "cannot|not an image"),
        ("a.ppm", b"P6 40000 40000 255\n", "claims 40000x40000"),
        (
            "a.jpg",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
            "not an image in a known format",
        ),
    ],
)
def test_headers_that_lie_cost_no_memory(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(InputError, match=reason):
        read_image(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_and_npy_headers_that_lie(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels(40, 50, 3), compression=compression)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for tag in ("ImageLength", "ImageWidth"):
            tiff.pages[0].tags[tag].overwrite(60_000)
    (tmp_path / "a.npy").write_bytes(written(tmp_path, "npy").replace(b"(23, 31, 3), }      ", b"(99999, 99999, 3), }"))
    for name in ("a.tif", "a.npy"):
        with pytest.raises(InputError, match=r"claims|cannot be decoded"):
            read_image(tmp_path / name)
        with pytest.raises(InputError):
            open_scene(tmp_path / name).part(0, 0, 40, 50_000)


def test_large_images_of_one_colour_are_read_if_they_are_not_absurd(tmp_path: Path) -> None:
    Image.new("L", (5000, 5000)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (5000, 5000, 1)


@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_tiff_with_a_part_larger_than_the_file(tmp_path: Path, tile: tuple[int, int] | None) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, pixels(20, 30, 3), photometric="rgb", tile=tile, compression="zlib")
    assert read_image(path).shape == (20, 30, 3)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tag = tiff.pages[0].tags["TileByteCounts" if tile else "StripByteCounts"]
        tag.overwrite(np.full(tag.count, 25_669_142 if tag.dtype_name in ("LONG", "LONG8") else 65_535))
    for read in (read_image, open_scene):
        with pytest.raises(InputError, match="more bytes than the file"):
            read(path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_pages_in_a_circle(tmp_path: Path, order: str, bigtiff: bool) -> None:
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path, byteorder=order, bigtiff=bigtiff) as writer:
        for side in (20, 21, 22):
            writer.write(pixels(side, side, 3), photometric="rgb", metadata=None)
    assert read_image(path).shape == (20, 20, 3)
    with tifffile.TiffFile(path) as tiff:
        first, last, form = tiff.pages[0].offset, tiff.pages[2].offset, tiff.tiff
    data = bytearray(path.read_bytes())
    name = "little" if order == "<" else "big"
    count = int.from_bytes(data[last : last + form.tagnosize], name)
    following = last + form.tagnosize + count * form.tagsize
    data[following : following + form.offsetsize] = first.to_bytes(form.offsetsize, name)
    path.write_bytes(data)
    for read in (read_image, open_scene):
        with pytest.raises(InputError, match="its pages lead in a circle"):
            read(path)
