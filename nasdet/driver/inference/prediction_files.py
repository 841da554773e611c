"""What `nasdet predict` found, in the formats that other tools read. One decision: all are written from the entries of
predictions.json, so they cannot disagree."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COCO_IMAGES, COCO_RESULTS, CSV, YOLO = "coco_images.json", "coco_results.json", "predictions.csv", "labels"


def write_found(entries: Sequence[dict[str, Any]], names: Sequence[str], classes: Sequence[str], out: Path) -> None:
    """Write COCO results with the images they speak of, YOLO rows and a table.

    Args:
        entries: as in predictions.json.
        names: of each image in `out`, without a suffix.
        classes: names in the order of the labels; COCO's category ids count from 1.
        out: folder that is there.
    """
    (out / COCO_IMAGES).write_text(json.dumps(_coco_images(entries, classes)))
    (out / COCO_RESULTS).write_text(json.dumps(_coco_results(entries, classes)))
    (out / YOLO).mkdir(exist_ok=True)
    for entry, name in zip(entries, names, strict=True):
        (out / YOLO / f"{name}.txt").write_text("".join(f"{row}\n" for row in _yolo_rows(entry, classes)))
    with (out / CSV).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("file", "class", "score", "x1", "y1", "x2", "y2"))
        table.writerows((e["file"], b["class"], b["score"], *b["box"]) for e in entries for b in e["boxes"])


def _coco_images(entries: Sequence[dict[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    """A COCO file without annotations, for `COCO(...).loadRes(coco_results.json)`."""
    images = [
        {"id": number, "file_name": entry["file"], "width": entry["width"], "height": entry["height"]}
        for number, entry in enumerate(entries, 1)
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
    return {"info": {}, "images": images, "annotations": [], "categories": categories}


def _coco_results(entries: Sequence[dict[str, Any]], classes: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for number, entry in enumerate(entries, 1):
        for box in entry["boxes"]:
            x1, y1, x2, y2 = box["box"]
            result = {"image_id": number, "category_id": classes.index(box["class"]) + 1, "score": box["score"]}
            result["bbox"] = [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]
            found.append(result | ({"segmentation": box["mask"]} if "mask" in box else {}))
    return found


def _yolo_rows(entry: dict[str, Any], classes: Sequence[str]) -> list[str]:
    """Class, centre and sides as shares of the image, score."""
    width, height = entry["width"], entry["height"]
    rows = []
    for box in entry["boxes"]:
        x1, y1, x2, y2 = box["box"]
        shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        rows.append(f"{classes.index(box['class'])} {' '.join(f'{s:.6f}' for s in shares)} {box['score']:.4f}")
    return rows
