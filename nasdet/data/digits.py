"""The built-in data set: scenes of real handwritten digits. It is written once as PNG files with COCO annotations, so
that it is read in the same way as a user's own folder.

The digits are scikit-learn's `load_digits` (1,797 samples of 8x8 pixels from the UCI optical recognition set). Train,
validation and test use different samples.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

SIZE = 96
"""Height and width of a scene in pixels."""
IMAGES = {"train": 600, "val": 150, "test": 150}
_VERSION = 1
_SMALLEST, _LARGEST = 20, 48
_MOST = 4
_OVERLAP = 0.05
_INK = 0.25
_SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}

DigitScene = tuple[npt.NDArray[np.uint8], list[tuple[int, list[int]]]]


def digits_folder(cache_root: Path, seed: int) -> Path:
    """Return the folder of the built-in set, made on first use."""
    folder = cache_root / f"digits-v{_VERSION}-seed{seed}"
    if not folder.is_dir():
        cache_root.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=cache_root, prefix="digits-"))
        try:
            write_digits(temporary, seed)
            temporary.chmod(0o755)
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def write_digits(folder: Path, seed: int) -> None:
    """Write all splits as `images/*.png` and `annotations/instances_<split>.json`."""
    from sklearn.datasets import load_digits

    samples, labels = load_digits(return_X_y=True)
    order = np.random.default_rng((seed, 0)).permutation(len(labels))
    ends = np.cumsum([round(len(order) * share) for share in _SHARES.values()])[:-1]
    (folder / "images").mkdir()
    (folder / "annotations").mkdir()
    for number, (split, own) in enumerate(zip(_SHARES, np.split(order, ends), strict=True)):
        rng = np.random.default_rng((seed, number + 1))
        scenes = [_scene(samples[own], labels[own], rng) for _ in range(IMAGES[split])]
        _write_split(folder, split, scenes)


def _scene(samples: npt.NDArray[Any], labels: npt.NDArray[Any], rng: np.random.Generator) -> DigitScene:
    """One image `(SIZE, SIZE)` and its objects as (digit, xywh)."""
    canvas = _background(rng)
    objects: list[tuple[int, list[int]]] = []
    for _ in range(rng.integers(1, _MOST + 1)):
        pick, size = int(rng.integers(len(labels))), int(rng.integers(_SMALLEST, _LARGEST + 1))
        stroke, (x, y, w, h) = _draw(samples[pick], size)
        spot = _free_spot(objects, w, h, rng)
        if spot is None:
            continue
        ink = rng.uniform(90, 160)
        canvas[spot[1] : spot[1] + h, spot[0] : spot[0] + w] += ink * stroke[y : y + h, x : x + w]
        objects.append((int(labels[pick]), [*spot, w, h]))
    return np.clip(canvas, 0, 255).round().astype(np.uint8), objects


def _background(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A gentle gradient with noise."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 40)
    noise = rng.normal(0, rng.uniform(2, 8), (SIZE, SIZE))
    canvas: npt.NDArray[np.float64] = rng.uniform(20, 80) + slope * (np.cos(angle) * x + np.sin(angle) * y) + noise
    return canvas


def _draw(sample: npt.NDArray[Any], size: int) -> tuple[npt.NDArray[np.float64], tuple[int, int, int, int]]:
    """The digit smoothly enlarged to `size` square pixels, in 0..1, and the xywh of its ink."""
    small = Image.fromarray((sample.reshape(8, 8) * (255 / 16)).astype(np.uint8))
    stroke = np.asarray(small.resize((size, size), Image.Resampling.BICUBIC), np.float64) / 255
    rows, columns = np.flatnonzero(stroke.max(1) > _INK), np.flatnonzero(stroke.max(0) > _INK)
    x, y = int(columns[0]), int(rows[0])
    return stroke, (x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y)


def _free_spot(
    objects: list[tuple[int, list[int]]], w: int, h: int, rng: np.random.Generator
) -> tuple[int, int] | None:
    """A place whose overlap with each other digit is small, or None after some tries."""
    for _ in range(30):
        x, y = int(rng.integers(0, SIZE - w + 1)), int(rng.integers(0, SIZE - h + 1))
        if all(_shared(x, y, w, h, *box) <= _OVERLAP * min(w * h, box[2] * box[3]) for _, box in objects):
            return x, y
    return None


def _shared(x: int, y: int, w: int, h: int, x2: int, y2: int, w2: int, h2: int) -> int:
    across, down = min(x + w, x2 + w2) - max(x, x2), min(y + h, y2 + h2) - max(y, y2)
    return max(across, 0) * max(down, 0)


def _write_split(folder: Path, split: str, scenes: list[DigitScene]) -> None:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (pixels, objects) in enumerate(scenes, 1):
        name = f"images/{split}_{number:04d}.png"
        Image.fromarray(pixels).save(folder / name, compress_level=1)
        images.append({"id": number, "file_name": name, "width": SIZE, "height": SIZE})
        for digit, box in objects:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": digit + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": digit + 1, "name": str(digit), "supercategory": "digit"} for digit in range(10)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(coco))
