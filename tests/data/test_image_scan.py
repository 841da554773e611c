"""Scans of image files, and which of them are made again."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from nasdet.data import image_scan
from nasdet.data.image_scan import scan_images


def test_only_files_that_failed_or_changed_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.new("L", (8, 6)).save(good)
    bad.write_bytes(b"damaged")
    read: list[Path] = []
    decode = image_scan._decode
    monkeypatch.setattr(image_scan, "_decode", lambda path, *rest: (read.append(path), decode(path, *rest))[1])
    first = scan_images([good, bad], tmp_path / "cache")
    assert first[bad].error and first[good].width == 8 and sorted(read) == [bad, good]
    assert scan_images([good, bad], tmp_path / "cache") == first and read[2:] == [bad]
    Image.new("L", (9, 6)).save(good)
    assert scan_images([good, bad], tmp_path / "cache")[good].width == 9
