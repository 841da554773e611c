"""Small sets in YOLO layout, written as other tools write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from nasdet.data import Dataset

WIDTH, HEIGHT = 60, 40
NAMES = "names: [cell, dust, hair]\n"
SPLITS = {"train": 6, "val": 3}
Rows = list[tuple[int, float, float, float, float]]
RowWriter = Callable[[int, float, float, float, float], str]


def boxes_of(split: str, number: int) -> Rows:
    """Class and x, y, width, height in pixels of the objects of an image, anywhere in it."""
    rng = np.random.default_rng([number, len(split)])
    rows = []
    for i in range(4):
        w, h = (float(v) for v in rng.integers(5, 20, 2))
        rows.append((i % 3, float(rng.integers(0, WIDTH - w)), float(rng.integers(0, HEIGHT - h)), w, h))
    return rows


def row(label: int | str, x: float, y: float, w: float, h: float) -> str:
    """A row in the layout's own convention."""
    return f"{label} {(x + w / 2) / WIDTH:.6f} {(y + h / 2) / HEIGHT:.6f} {w / WIDTH:.6f} {h / HEIGHT:.6f}"


def write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **({"quality": 95} if path.suffix.lower() == ".jpg" else {"format": "PNG"}))


def write_set(
    root: Path, yaml: str | None = "train: images/train\nval: images/val\n" + NAMES, *, images: str = "images/{}",
    labels: str = "labels/{}", line: RowWriter = row, suffix: str = ".png",
) -> Path:  # fmt: skip
    """Write the images and rows of `SPLITS`.

    Args:
        root: a new folder.
        yaml: content of data.yaml, None for none.
        images: folder of the images of a split.
        labels: the same of the label files.
        line: the row of an object.
        suffix: of the images.
    """
    for split, count in SPLITS.items():
        for number in range(count):
            write_image(root / images.format(split) / f"{split}{number}{suffix}", 100 * len(split) + number)
            path = root / labels.format(split) / f"{split}{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(line(*box) + "\n" for box in boxes_of(split, number)))
    if yaml is not None:
        (root / "data.yaml").write_text(yaml)
    return root


def assert_right(dataset: Dataset) -> None:
    """All images with their boxes and classes, whatever their split, and no defect."""
    assert not dataset.info.defects
    found = {r.path.stem: r for split in dataset.info.splits for r in dataset.images(split)}
    assert set(found) == {f"{split}{number}" for split, count in SPLITS.items() for number in range(count)}
    for split, count in SPLITS.items():
        for number in range(count):
            wanted = np.array(boxes_of(split, number))
            record = found[f"{split}{number}"]
            np.testing.assert_array_equal(record.labels, wanted[:, 0])
            np.testing.assert_allclose(record.boxes[:, :2], wanted[:, 1:3], atol=1e-3)
            np.testing.assert_allclose(record.boxes[:, 2:] - record.boxes[:, :2], wanted[:, 3:], atol=1e-3)
