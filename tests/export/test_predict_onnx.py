"""What the stand-alone code of a bundle reads; the boxes it finds are compared in tests/cli/test_register.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from nasdet.export.predict_onnx import OnnxDetector
from tests.data.test_images import write_png16


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4)])
def test_reads_8_bits(tmp_path: Path, mode: str, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, channels), dtype=np.uint8)
    Image.fromarray(pixels.squeeze()).save(tmp_path / "a.png")
    read = OnnxDetector.decode(tmp_path / "a.png", mode)
    assert np.array_equal(read.reshape(pixels.shape), pixels)


def test_reads_16_bits_of_grey_and_refuses_those_of_colour(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (6, 5, 3), dtype=np.uint16)
    write_png16(tmp_path / "grey.png", deep[:, :, :1])
    for file in (tmp_path / "grey.png", (tmp_path / "grey.png").read_bytes()):
        assert np.array_equal(OnnxDetector.decode(file, "L"), deep[:, :, 0])
    write_png16(tmp_path / "colour.png", deep)
    tifffile.imwrite(tmp_path / "colour.tif", deep, photometric="rgb")
    for file in (tmp_path / "colour.png", (tmp_path / "colour.png").read_bytes(), tmp_path / "colour.tif"):
        with pytest.raises(ValueError, match=r"16-bit colour.* as an array of uint16"):
            OnnxDetector.decode(file, "RGB")
    tifffile.imwrite(tmp_path / "grey.tif", deep[:, :, 0])
    assert np.array_equal(OnnxDetector.decode(tmp_path / "grey.tif", "L"), deep[:, :, 0])
