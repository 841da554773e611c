"""Small data sets written on the fly. One decision: every test image differs, so that content hashes do too."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nasdet.data import Dataset, open_data
from nasdet.data.writers import WRITERS, write_folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def digits(cache: Path) -> Dataset:
    return open_data("digits", cache_root=cache)


@pytest.fixture(scope="session")
def few_digits(digits: Dataset, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The first digits of every split as a folder of their own: 60, 15 and 15 images."""
    folder = write_part(digits, {"train": 60, "val": 15, "test": 15}, tmp_path_factory.mktemp("few") / "digits")
    return open_data(folder, cache_root=cache)


@pytest.fixture(scope="session")
def few_digits_in(few_digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`few_digits` written once in each layout; tests that change a folder copy it first."""
    root = tmp_path_factory.mktemp("layouts")
    return {layout: write_folder(few_digits, layout, root / layout) for layout in WRITERS}


@pytest.fixture(scope="session")
def cells(shared_data: Path, cache: Path) -> Dataset:
    """Real photographs of blood cells, 480 x 640 pixels: 205, 87 and 72 images."""
    return open_data(shared_data / "bccd", cache_root=cache)


@pytest.fixture(scope="session")
def few_cells(cells: Dataset, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The first of them: 24, 12 and 12 images."""
    folder = write_part(cells, {"train": 24, "val": 12, "test": 12}, tmp_path_factory.mktemp("few") / "cells")
    return open_data(folder, cache_root=cache)


def write_part(dataset: Dataset, counts: dict[str, int], folder: Path) -> Path:
    """A COCO folder with the first images of every split, hard-linked."""
    (folder / "annotations").mkdir(parents=True)
    (folder / "images").mkdir()
    for split, count in counts.items():
        content = dataset.coco(split)
        content["images"] = content["images"][:count]
        kept = {image["id"] for image in content["images"]}
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
        for record in dataset.images(split)[:count]:
            os.link(record.path, folder / "images" / record.path.name)
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def opens(cache: Path) -> Callable[..., Dataset]:
    """`open_data` with the tests' cache."""
    return lambda source, **options: open_data(source, cache_root=cache, **options)


def random_image(seed: int, height: int = 40, width: int = 60, channels: int = 3) -> np.ndarray:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


class CocoFolder:
    """A COCO folder to be damaged: change `content`, then `write()`."""

    def __init__(self, root: Path, images: int = 20, boxes: int = 5, channels: int = 3) -> None:
        self.root = root
        (root / "images").mkdir(parents=True)
        self.content: dict[str, Any] = {
            "images": [],
            "annotations": [],
            "categories": [{"id": 3, "name": "cell"}, {"id": 7, "name": "dust"}],
        }
        for i in range(1, images + 1):
            name = f"im{i:03d}.png"
            Image.fromarray(random_image(i, channels=channels)).save(root / "images" / name)
            self.content["images"].append({"id": i, "file_name": name, "width": 60, "height": 40})
            for j in range(boxes):
                box = [1.0 + 10 * j, 2.0 + i % 10, 8.0, 20.0]
                self.annotate(i, box, 3 if j % 2 else 7)

    def annotate(self, image: int, box: Any, category: int = 3, **more: Any) -> None:
        annotations = self.content["annotations"]
        annotations.append(
            {"id": len(annotations) + 1, "image_id": image, "category_id": category, "bbox": box, **more}
        )

    def write(self, name: str = "annotations/instances.json") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.content))
        return self.root


@pytest.fixture
def coco_folder(tmp_path: Path) -> Iterator[CocoFolder]:
    yield CocoFolder(tmp_path / "set")
