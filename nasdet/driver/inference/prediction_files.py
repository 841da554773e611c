"""`nasdet predict`: the files it reads, and the files it writes: pictures, predictions.json, COCO results, YOLO rows
and a table. All are written from the entries of predictions.json, so they agree."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from nasdet.data import Tiling
from nasdet.data.images import is_image
from nasdet.data.large_images import scene_of
from nasdet.driver.inference import drawing
from nasdet.driver.inference.evaluate import best_device
from nasdet.driver.inference.predict import predict_image
from nasdet.driver.resources import cpu_count
from nasdet.errors import InputError
from nasdet.export import Bundle
from nasdet.export.bundle import writing
from nasdet.torch_settings import torch_threads

COCO_IMAGES, COCO_RESULTS, CSV, YOLO = "coco_images.json", "coco_results.json", "predictions.csv", "labels"


def predict_files(
    bundle: Bundle,
    sources: Sequence[str | Path],
    out: Path,
    *,
    score: float,
    tiling: Tiling | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Write each image with its boxes to `out`, all boxes to `out/predictions.json`, and the files of `write_results`.

    Pictures of images that are cut into tiles are scaled down to at most 4096 pixels, without masks.

    Args:
        bundle: the detector.
        sources: image files, folders of images, and patterns such as scans/**/*.png.
        out: folder to write; made if missing.
        score: least score that is kept.
        tiling: how images are cut into tiles; None: each is seen whole.
        device: None: a GPU where there is one.

    Returns:
        `images`, `boxes`, `out`, and `predictions`: one entry per image as in predictions.json
        (`file`, `width`, `height`, `boxes`: class, score, xyxy pixels of the image, and from mask heads `mask`, COCO's
        run-length code).

    Raises:
        InputError: an image cannot be read, or `out` cannot be written.
    """
    files = list(image_files(sources))
    names = [f"{number:04d}-{file.stem}" for number, file in enumerate(files)]
    with torch_threads(cpu_count()):
        detector = bundle.load_detector(device or str(best_device()))
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        entries, boxes = [], 0
        for file, name in zip(files, names, strict=True):
            scene = scene_of(file, alpha=bundle.spec.input.channels == 4)
            found = predict_image(detector, scene, bundle.classes, score=score, tiling=tiling)
            boxes += len(found)
            height, width = found.size
            entries.append({"file": str(file), "width": width, "height": height, "boxes": found.to_json()})
            picture, scale = drawing.picture_of(scene, drawing.LARGEST if tiling else None)
            with writing(out):
                drawing.draw(picture, scale, found).save(out / f"{name}.png")
    with writing(out):
        (out / "predictions.json").write_text(json.dumps(entries, indent=1))
        write_results(entries, names, bundle.classes, out)
    return {"images": len(files), "boxes": boxes, "out": str(out), "predictions": entries}


def image_files(sources: Sequence[str | Path]) -> Iterator[Path]:
    """The image files that files, folders and patterns stand for; raises InputError where there is none."""
    for source in map(Path, sources):
        if source.is_file():
            yield source
            continue
        if source.is_dir():
            found, problem = sorted(source.iterdir()), ("no images in this folder", "")
        elif any(sign in str(source) for sign in "*?["):
            names = glob.glob(str(source), recursive=True)  # noqa: PTH207 (pathlib takes no absolute pattern)
            found, problem = sorted(map(Path, names)), ("no image matches this pattern", "** goes through folders")
        else:
            found, problem = [], ("no such image or folder", "")
        images = [file for file in found if file.is_file() and is_image(file)]
        if not images:
            raise InputError(problem[0], where=str(source), remedy=problem[1])
        yield from images


def write_results(entries: Sequence[dict[str, Any]], names: Sequence[str], classes: Sequence[str], out: Path) -> None:
    """Write COCO results with the images they refer to, YOLO rows and a table.

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
    rows = [(e["file"], b["class"], b["score"], *b["box"]) for e in entries for b in e["boxes"]]
    columns = ["file", "class", "score", "x1", "y1", "x2", "y2"]
    pd.DataFrame(rows, columns=columns).to_csv(out / CSV, index=False)


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
