"""`nasdet data` on 100,000 images with 1,000,000 boxes: seconds and memory, as COCO and as YOLO.

    python benchmarks/large_data.py --json          6 minutes, most of it making the images

Images are tiny PNGs, each of its own content, so that what is measured is the reading of annotations and the work for
each file, not the decoder. The first run reads every file, the second one finds the scan of the first in the cache. The
files are in the page cache, because they have just been written.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE, CLASSES = 32, 20


def make(root: Path, images: int, boxes: int) -> None:
    """One set of images, with COCO's annotations (`coco/`) and with YOLO's (`yolo/`, the same files hard-linked)."""
    rng = np.random.default_rng(0)
    names = [f"c{label}" for label in range(CLASSES)]
    (root / "coco" / "annotations").mkdir(parents=True)
    share = {"train": round(0.9 * images), "val": images - round(0.9 * images)}
    number = 0
    for split, count in share.items():
        content: dict[str, Any] = {"categories": [{"id": i + 1, "name": name} for i, name in enumerate(names)]}
        content |= {"images": [], "annotations": []}
        places = {layout: root / layout / "images" / split for layout in ("coco", "yolo")}
        labels = root / "yolo" / "labels" / split
        for folder in (*places.values(), labels):
            folder.mkdir(parents=True)
        for _ in range(count):
            number += 1
            file = f"{number:07d}.png"
            _write_image(places["coco"] / file, number)
            os.link(places["coco"] / file, places["yolo"] / file)
            own = boxes * number // images - boxes * (number - 1) // images
            size = rng.uniform(4, 12, (own, 2))
            corner = rng.uniform(0, SIDE - size)
            classes = rng.integers(CLASSES, size=own)
            content["images"].append({"id": number, "file_name": f"{split}/{file}", "width": SIDE, "height": SIDE})
            rows = []
            for label, (x, y), (w, h) in zip(classes.tolist(), corner.tolist(), size.tolist(), strict=True):
                annotation = {"id": len(content["annotations"]) + 1, "image_id": number, "category_id": label + 1}
                annotation |= {"bbox": [round(v, 2) for v in (x, y, w, h)], "area": round(w * h, 2), "iscrowd": 0}
                content["annotations"].append(annotation)
                shares = ((x + w / 2) / SIDE, (y + h / 2) / SIDE, w / SIDE, h / SIDE)
                rows.append(f"{label} {' '.join(f'{v:.6f}' for v in shares)}\n")
            (labels / f"{number:07d}.txt").write_text("".join(rows))
        (root / "coco" / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    listed = "\n".join(f"  {i}: {name}" for i, name in enumerate(names))
    (root / "yolo" / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames:\n{listed}\n")


def _write_image(path: Path, number: int) -> None:
    """Grey ramps that hold the image's number in their first pixels."""
    pixels = np.add.outer(np.arange(SIDE), np.arange(SIDE)).astype(np.uint8)
    pixels[0, :4] = np.frombuffer(number.to_bytes(4, "little"), np.uint8)
    Image.fromarray(pixels).save(path, compress_level=1)


def measure(source: Path, home: Path) -> dict[str, Any]:
    """Seconds and peak memory of `nasdet data SOURCE` in a process of its own, first and second run."""
    result: dict[str, Any] = {}
    for run in ("first", "again"):
        command = [sys.executable, "-m", "nasdet", "data", str(source), "--json", "--out", str(home / "sheet.png")]
        start = time.perf_counter()
        with subprocess.Popen(
            command, env={**os.environ, "NASDET_HOME": str(home)}, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            facts = json.loads(process.stdout.read())
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        counts = facts["objects"].values()
        result[run] = {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "memory_gb": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9,
            "images": sum(c["images"] for c in counts),
            "boxes": sum(c["boxes"] for c in counts),
        }
    return result


def main() -> None:
    """Make the data, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--boxes", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the data is made, and kept; left out: a temporary folder")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    root = options.folder or Path(tempfile.mkdtemp(prefix="nasdet-large-"))
    try:
        if not (root / "yolo" / "data.yaml").is_file():
            make(root, options.images, options.boxes)
        result = {}
        for layout in ("coco", "yolo"):
            with tempfile.TemporaryDirectory(prefix="nasdet-large-home-") as home:
                result[layout] = measure(root / layout, Path(home))
    finally:
        if options.folder is None:
            shutil.rmtree(root, ignore_errors=True)
    if options.json:
        print(json.dumps(result))
        return
    for layout, runs in result.items():
        for run, r in runs.items():
            print(f"{layout} {run}: {r['seconds']:.1f} s, {r['memory_gb']:.2f} GB, {r['images']} images")


if __name__ == "__main__":
    main()
