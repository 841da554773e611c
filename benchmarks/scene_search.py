"""From one command to boxes on scenes of thousands of pixels with tiny objects, and the memory that it takes.

    python benchmarks/scene_search.py --json --data FOLDER                 a quarter of an hour
    python benchmarks/scene_search.py --json --side 1200 --minutes 1       the built-in digits

Images of the data set are laid side by side in rows, half of them flipped, until they fill a scene: one of the training
images, one of the validation images and one of the test images. `nasdet search --data SCENES --train` then does
everything, and `nasdet predict` finds the objects of the last scene. Printed are the figures of the test scene, how
images were cut, the seconds of each command and the most memory of all its processes together (proportional set size).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.simulated_cluster import below
from nasdet.data import Dataset, ImageRecord, open_data, read_image


def write_scenes(data: Dataset, folder: Path, side: int) -> None:
    """A COCO folder of one scene of `side` x `side` pixels for each split."""
    (folder / "annotations").mkdir(parents=True)
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(data.info.classes)]
    for split in ("train", "val", "test"):
        records = data.images(split if split in data.info.splits else "val")
        pixels, boxes, labels = _scene(records, side, np.random.default_rng(0))
        Image.fromarray(pixels).save(folder / f"{split}.png", compress_level=1)
        rows = [
            {"id": i + 1, "image_id": 1, "category_id": label + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            for i, ((x1, y1, x2, y2), label) in enumerate(zip(boxes, labels, strict=True))
        ]
        images = [{"id": 1, "file_name": f"{split}.png", "width": side, "height": side}]
        content = {"images": images, "annotations": rows, "categories": categories}
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def _scene(
    records: list[ImageRecord], side: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[list[float]], list[int]]:
    """Pixels, boxes (xyxy) and labels; what does not fit whole into a row is cut off together with its boxes."""
    canvas, boxes, labels = np.zeros((side, side, 3), np.uint8), list[list[float]](), list[int]()
    numbers, top, left, row = _endless(len(records), rng), 0, 0, 0
    while top < side:
        record = records[next(numbers)]
        pixels, own = read_image(record.path), record.boxes.astype(float)
        pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
        if rng.random() < 0.5:
            pixels, own = pixels[:, ::-1], own[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [record.width, 0, record.width, 0]
        shown = pixels[: side - top, : side - left]
        canvas[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
        own[:, [0, 2]] = own[:, [0, 2]].clip(0, shown.shape[1]) + left
        own[:, [1, 3]] = own[:, [1, 3]].clip(0, shown.shape[0]) + top
        seen = (own[:, 2:] - own[:, :2]).min(1) >= 2
        boxes += own[seen].tolist()
        labels += record.labels[seen].tolist()
        left, row = left + record.width, max(row, record.height)
        if left >= side:
            top, left, row = top + row, 0, 0
    return canvas, boxes, labels


def _endless(count: int, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(count).tolist()


def run(command: list[str], folder: Path) -> tuple[dict[str, Any], float, float]:
    """What a command prints as JSON, its seconds, and the most megabytes that its processes took together."""
    begin, most = time.monotonic(), 0.0
    with subprocess.Popen(
        [sys.executable, "-m", "nasdet", *command, "--json"], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as process:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                printed, _ = process.communicate(timeout=1)
                break
            most = max(most, sum(map(_megabytes, (process.pid, *below(process.pid)))))
    if process.returncode:
        raise SystemExit(f"nasdet {' '.join(command)}: exit code {process.returncode}")
    return json.loads(printed), time.monotonic() - begin, most


def _megabytes(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1e3
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="data set that the scenes are made of")
    parser.add_argument("--side", type=int, default=6000, help="of a scene in pixels")
    parser.add_argument("--minutes", type=float, default=12.0, help="of search and training together")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    options = parser.parse_args()
    source = str(Path(options.data).resolve()) if Path(options.data).exists() else options.data
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scenes(open_data(source), folder / "scenes", options.side)
        limit = f"{60 * options.minutes:.0f}s"
        found, seconds, memory = run(
            ["search", "--data", "scenes", "--time-limit", limit, "--train", "--study", "study"], folder
        )
        predicted, predict_seconds, predict_memory = run(
            ["predict", found["trained"]["bundle"], "scenes/test.png", "--out", "found"], folder
        )
        boxes = json.loads((folder / "scenes/annotations/instances_test.json").read_text())["annotations"]
        card = json.loads((Path(folder, found["trained"]["bundle"]) / "metrics.json").read_text())
    result = {
        "side": options.side,
        "boxes": len(boxes),
        "tile": card.get("tile"),
        "search_seconds": seconds,
        "search_mb": memory,
        "predict_seconds": predict_seconds,
        "predict_mb": predict_memory,
        "trained": found["trained"],
        "predicted": predicted,
    }
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
