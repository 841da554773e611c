"""COCO metrics of 1,000 images and 45,000 detections: nasdet's evaluation against pycocotools.

    python benchmarks/eval_speed.py --json          30 seconds

One decision: both start from the same ground truth in memory and the same columns of detections, and all 12 figures are
compared.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import time
from typing import Any

import numpy as np

from nasdet.evaluation import Predictions, coco_metrics


def scene(
    seed: int, images: int = 40, classes: int = 3, *, objects: int = 8, spurious: int = 0
) -> tuple[dict[str, Any], Predictions]:
    """Random ground truth with some crowds, and jittered, mislabelled and spurious detections.

    Args:
        seed: of everything.
        images: number of images of 640 x 480 pixels.
        classes: number of classes.
        objects: fewer than so many objects per image, three detections each.
        spurious: detections per image in all, the rest of them far from any object.
    """
    rng = np.random.default_rng(seed)
    truth: list[dict[str, Any]] = []
    rows: list[list[float]] = []
    for image in range(1, images + 1):
        count = int(rng.integers(0, objects)) if objects else 0
        for _ in range(count):
            w, h = np.exp(rng.uniform(np.log(6), np.log(250), 2))
            x, y, label = rng.uniform(0, 640 - w), rng.uniform(0, 480 - h), int(rng.integers(classes))
            box = {"bbox": [float(x), float(y), float(w), float(h)], "area": float(w * h)}
            crowd = int(rng.random() < 0.05)
            truth.append({"id": len(truth) + 1, "image_id": image, "category_id": label + 1, "iscrowd": crowd, **box})
            for _ in range(3):
                dx, dy, dw, dh = rng.normal(0, 0.12, 4)
                guess = label if rng.random() < 0.8 else int(rng.integers(classes))
                x1, y1, w2, h2 = x + dx * w, y + dy * h, w * np.exp(dw), h * np.exp(dh)
                rows.append([image, x1, y1, x1 + w2, y1 + h2, rng.random(), guess])
        for _ in range(max(0, spurious - 3 * count)):
            w, h = np.exp(rng.uniform(np.log(6), np.log(250), 2))
            x, y = rng.uniform(0, 600), rng.uniform(0, 400)
            rows.append([image, x, y, x + w, y + h, 0.6 * rng.random(), int(rng.integers(classes))])
    table = np.array(rows).reshape(-1, 7)
    names = [{"id": i + 1, "name": str(i)} for i in range(classes)]
    frames = [{"id": i, "width": 640, "height": 480, "file_name": f"{i}.png"} for i in range(1, images + 1)]
    found = Predictions(table[:, 0].astype(np.int64), table[:, 1:5], table[:, 5], table[:, 6].astype(np.int64))
    return {"images": frames, "annotations": truth, "categories": names}, found


def by_pycocotools(truth: dict[str, Any], found: Predictions) -> np.ndarray:
    """The reference: 12 figures in the order of `evaluation.METRICS`."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO()
        ground.dataset = truth
        ground.createIndex()
        run = COCOeval(ground, ground.loadRes(found.to_coco_array()), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return np.asarray(run.stats)


def measure(rounds: int) -> dict[str, float]:
    """Medians over `rounds`, both in turn."""
    truth, found = scene(0, images=1000, classes=10, objects=10, spurious=45)
    theirs: list[float] = []
    ours: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        reference = by_pycocotools(truth, found)
        middle = time.perf_counter()
        figures = np.array(list(coco_metrics(truth, found).values()))
        theirs.append(middle - start)
        ours.append(time.perf_counter() - middle)
    slow, fast = statistics.median(theirs), statistics.median(ours)
    return {
        "pycocotools_seconds": slow,
        "nasdet_seconds": fast,
        "ratio": slow / fast,
        "max_abs_diff": float(np.abs(reference - figures).max()),
        "images": 1000,
        "detections": len(found.scores),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    result = measure(args.rounds)
    print(json.dumps(result) if args.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
