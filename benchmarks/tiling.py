"""A scene of planted cells seen in tiles, against the same cells seen one by one.

    python benchmarks/tiling.py --json --data FOLDER                   20 minutes: trains a detector for 15
    python benchmarks/tiling.py --json --data FOLDER --bundle best     3 minutes

One decision: cells that touch no other are cut out of validation and test images with an ellipse, and pasted on plain
stained background, turned and flipped, none over another; a single image is the cell of the scene alone on the same
background, as large as a tile, so that both show it at the same scale and differ in the tiling only.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nasdet.data import Dataset, Tiling, open_data, read_image
from nasdet.driver.inference.evaluate import evaluate_bundle
from nasdet.driver.inference.prediction_files import predict_files
from nasdet.driver.training.request import Source, TrainingOptions
from nasdet.driver.training.train import train_detector
from nasdet.export import read_bundle
from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.heads import TaskAlignedSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.specs import AugmentSpec, DetectorSpec, InputSpec, NormSpec, Recipe

TILE = (480, 640)
"""Rows and columns of a tile: the size of the images that the detector is trained on."""
MARGIN = 4
"""Pixels around a cell's box in which it fades into the background."""
Cell = tuple[np.ndarray, int]
"""`(h, w, 3)` pixels, `MARGIN` wider than the box on every side, and the label."""


def cells(data: Dataset, largest: int) -> list[Cell]:
    """Cells of the validation and test images that touch no other and no edge, the longest side up to `largest`."""
    found = []
    for record in (r for split in data.info.splits if split != "train" for r in data.images(split)):
        pixels = read_image(record.path)
        around = record.boxes.round().astype(int) + np.array([-MARGIN, -MARGIN, MARGIN, MARGIN])
        for i, (x1, y1, x2, y2) in enumerate(around):
            others = np.delete(record.boxes, i, axis=0)
            apart = (others[:, 0] >= x2) | (others[:, 2] <= x1) | (others[:, 1] >= y2) | (others[:, 3] <= y1)
            inside = min(x1, y1) >= 0 and x2 <= record.width and y2 <= record.height
            if apart.all() and inside and max(x2 - x1, y2 - y1) - 2 * MARGIN <= largest:
                found.append((pixels[y1:y2, x1:x2], int(record.labels[i])))
    return found


def background(data: Dataset, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Stain without cells: mean and noise of what lies outside of all boxes, and a slow change of brightness."""
    outside = []
    for record in data.images("val"):
        pixels, free = read_image(record.path), np.ones((record.height, record.width), bool)
        for x1, y1, x2, y2 in record.boxes.round().astype(int):
            free[y1:y2, x1:x2] = False
        outside.append(pixels[free][::50])
    mean = np.median(np.concatenate(outside), axis=0)
    coarse = rng.normal(0, 4, (height // 400 + 2, width // 400 + 2))
    slow = np.asarray(Image.fromarray(coarse.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC))
    canvas = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, 500):  # a scene of floats would take as much memory as what is measured
        rows = slow[top : top + 500, :, None]
        noise = rng.normal(0, 3, (*rows.shape[:2], 1)).astype(np.float32)
        canvas[top : top + 500] = np.clip(mean + rows + noise, 0, 255)
    return canvas


def paste(canvas: np.ndarray, cell: np.ndarray, top: int, left: int) -> None:
    """Blend a cell into the canvas inside of an ellipse."""
    height, width = cell.shape[:2]
    y, x = (np.linspace(-1, 1, n) for n in (height, width))
    fade = 2 * MARGIN / min(height, width)
    share = np.clip((1 - np.hypot(y[:, None], x[None])) / fade, 0, 1)[..., None]
    under = canvas[top : top + height, left : left + width]
    under[:] = np.round(share * cell + (1 - share) * under)


def places(sizes: list[tuple[int, int]], side: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Top and left of each rectangle in a square, none over another."""
    taken: list[tuple[int, int, int, int]] = []
    for height, width in sizes:
        while True:
            top, left = int(rng.integers(side - height)), int(rng.integers(side - width))
            if all(top >= b or top + height <= t or left >= r or left + width <= e for t, e, b, r in taken):
                break
        taken.append((top, left, top + height, left + width))
    return [(top, left) for top, left, _, _ in taken]


def plant(data: Dataset, folder: Path, side: int, count: int, largest: int) -> Path:
    """Write a scene and each of its cells as a single image; the data YAML returned has them as val and train."""
    rng = np.random.default_rng(0)
    known = cells(data, largest)
    drawn = [known[i] for i in np.resize(rng.permutation(len(known)), count)]
    turned = [(np.rot90(cell, int(rng.integers(4)))[:, :: int(rng.choice([-1, 1]))], label) for cell, label in drawn]
    turned.sort(key=lambda one: -one[0].size)  # large ones find no place between small ones
    plain = background(data, side, side, rng)
    scene = plain.copy()
    (folder / "single").mkdir(parents=True)
    rows: dict[str, list[tuple[int, tuple[int, ...], int]]] = {"whole": [], "single": []}
    corners = places([cell.shape[:2] for cell, _ in turned], side, rng)
    for number, ((cell, label), (top, left)) in enumerate(zip(turned, corners, strict=True)):
        paste(scene, cell, top, left)
        y, x = (min(max(0, p - (t - n) // 2), side - t) for p, t, n in zip((top, left), TILE, cell.shape, strict=False))
        alone = plain[y : y + TILE[0], x : x + TILE[1]].copy()
        paste(alone, cell, top - y, left - x)
        Image.fromarray(alone).save(folder / f"single/{number:03d}.png")
        for name, box in (("whole", (0, top, left)), ("single", (number, top - y, left - x))):
            rows[name].append((box[0], (*box[1:], *cell.shape[:2]), label))
    Image.fromarray(scene).save(folder / "scene.png", compress_level=1)
    singles = [(f"single/{number:03d}.png", *TILE) for number in range(count)]
    write_coco(folder / "whole.json", [("scene.png", side, side)], rows["whole"], data.info.classes)
    write_coco(folder / "single.json", singles, rows["single"], data.info.classes)
    (folder / "planted.yaml").write_text("format: coco\nimages: .\ntrain: single.json\nval: whole.json\n")
    return folder / "planted.yaml"


def write_coco(
    path: Path,
    files: list[tuple[str, int, int]],
    rows: list[tuple[int, tuple[int, ...], int]],
    classes: tuple[str, ...],
) -> None:
    """COCO annotations of files (name, height, width) and cells (file, their top, left, height and width, label)."""
    images = [{"id": i + 1, "file_name": name, "height": h, "width": w} for i, (name, h, w) in enumerate(files)]
    boxes = [
        {
            "id": i + 1, "image_id": file + 1, "category_id": label + 1, "iscrowd": 0,
            "bbox": [left + MARGIN, top + MARGIN, width - 2 * MARGIN, height - 2 * MARGIN],
        }
        for i, (file, (top, left, height, width), label) in enumerate(rows)
    ]  # fmt: skip
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(classes)]
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))


def train(data: Dataset, out: Path, minutes: float) -> None:
    """A small detector of 0.5M parameters, from scratch."""
    spec = DetectorSpec(
        input=InputSpec(height=TILE[0] * 2 // 5, width=TILE[1] * 2 // 5),
        backbone=StagedSpec(
            stem="deep3x3", stem_width=24,
            stages=(StageSpec(width=32, stride=1), StageSpec(width=64), StageSpec(width=96)),
        ),
        neck=PyramidSpec(kind="fpn", levels=(-2, -1), width=48, depth=1),
        head=TaskAlignedSpec(width=48, depth=1),
        norm=NormSpec(kind="gn"),
        activation="silu",
    )  # fmt: skip
    recipe = Recipe(batch_size=8, base_lr=2e-3, augment=AugmentSpec(strength=0.4, hflip=True, vflip=True))
    options = TrainingOptions(time_limit=60 * minutes)
    train_detector(Source(spec, recipe, {}), data, out, options, resume=False, report=lambda *_: None)


def look(bundle_path: str, planted: str, folder: str, tiling: Tiling, results: Any) -> None:
    """In a process of its own: what the scene is in tiles, and the memory that took."""
    bundle, data = read_bundle(bundle_path), open_data(planted)
    start = time.perf_counter()
    figures = evaluate_bundle(bundle, data.tiled(tiling), "val")
    evaluated = time.perf_counter()
    found = predict_files(bundle, [Path(folder, "scene.png")], Path(folder, "found"), score=0.3, tiling=tiling)
    results.put(
        {
            "tiled_ap50": figures["ap50"], "tiled_ap": figures["ap"], "max_detections": figures["max_detections"],
            "evaluation_seconds": evaluated - start, "predict_seconds": time.perf_counter() - evaluated,
            "predicted_boxes": found["boxes"], "peak_rss_gb": peak_memory() / 1e9,
        }
    )  # fmt: skip


def peak_memory() -> int:
    """Largest resident memory of this process in bytes; what its parent held does not count (Linux)."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) << 10 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(source: str, bundle: str, minutes: float, side: int, count: int, overlap: int) -> dict[str, Any]:
    """AP50 of the scene in tiles, of single images, and of the scene seen whole."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, data = Path(temporary), open_data(source)
        if not bundle:
            bundle = str(folder / "bundle")
            train(data, Path(bundle), minutes)
        planted = plant(data, folder / "planted", side, count, largest=overlap)
        tiling, context = Tiling(max(TILE), overlap), multiprocessing.get_context("spawn")
        results = context.SimpleQueue()
        process = context.Process(target=look, args=(bundle, str(planted), str(folder / "planted"), tiling, results))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(process.exitcode)
        tiled, loaded, scenes = results.get(), read_bundle(bundle), open_data(planted)
        single, whole = (evaluate_bundle(loaded, scenes, split) for split in ("train", "val"))
    return {
        **tiled, "single_ap50": single["ap50"], "single_ap": single["ap"], "whole_ap50": whole["ap50"],
        "points_lost": 100 * (single["ap50"] - tiled["tiled_ap50"]), "own_val_ap50": loaded.metrics["values"]["ap50"],
        "side": side, "cells": count, "tile": tiling.size, "overlap": overlap,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--data", default="", help="bccd, or another folder of 640x480 images; without one: nothing")
    parser.add_argument("--bundle", default="", help="a detector of these classes; left out: one is trained")
    parser.add_argument("--minutes", type=float, default=15.0, help="of its training")
    parser.add_argument("--side", type=int, default=6000, help="pixels of the scene")
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--overlap", type=int, default=240, help="pixels; larger cells are not planted")
    args = parser.parse_args()
    if not args.data:
        print(json.dumps({"skipped": "no --data"}))
        return
    result = measure(args.data, args.bundle, args.minutes, args.side, args.cells, args.overlap)
    print(json.dumps(result) if args.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
