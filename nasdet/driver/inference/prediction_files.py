"""`nasdet predict`: the files it reads, and the files it writes: pictures, predictions.json, COCO results, YOLO rows
and a table. predictions.json names the images in the order of their pictures, so that a later run into the same folder
knows which files were written by this one."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from nasdet.data import Tiling
from nasdet.data.files import list_images
from nasdet.data.images import is_image
from nasdet.data.large_images import scene_of
from nasdet.driver.inference import drawing
from nasdet.driver.inference.detections import Detections
from nasdet.driver.inference.evaluate import best_device
from nasdet.driver.inference.predict import predict_image
from nasdet.driver.resources import cpu_count
from nasdet.errors import InputError
from nasdet.export import Bundle
from nasdet.export.bundle import writing
from nasdet.files import atomic_write
from nasdet.torch_settings import torch_threads

PREDICTIONS, COCO_IMAGES, COCO_RESULTS = "predictions.json", "coco_images.json", "coco_results.json"
CSV, YOLO = "predictions.csv", "labels"


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
    What an earlier run wrote there is deleted. After an interruption, what was found until then is written.

    Pictures of images that are cut into tiles are scaled down to at most 4096 pixels, without masks.

    Args:
        bundle: the detector.
        sources: image files, folders of images, and patterns such as scans/**/*.png.
        out: folder to write; made if missing.
        score: least score that is kept.
        tiling: how images are cut into tiles; None: each is seen whole.
        device: None: a GPU where there is one.

    Returns:
        `images`, `boxes`, `out`; `predictions`: one entry per image as in predictions.json (`file`, `width`, `height`,
        `boxes`: class, score, xyxy pixels of the image, and from mask heads `mask`, COCO's run-length code); `skipped`:
        why each image that is not among them could not be read.

    Raises:
        InputError: no image can be read, or `out` cannot be written.
    """
    earlier = earlier_files(out)
    files = list(image_files(sources, leave_out=earlier))
    read = {file.resolve() for file in files} if earlier else set()
    predictions: list[tuple[dict[str, Any], Detections]] = []
    skipped: list[str] = []
    with torch_threads(cpu_count()):
        detector = bundle.load_detector(device or str(best_device()))
        try:
            for file in files:
                try:
                    scene = scene_of(file, alpha=bundle.spec.input.channels == 4)
                    found = predict_image(detector, scene, bundle.classes, score=score, tiling=tiling)
                    picture, scale = drawing.picture_of(scene, drawing.LARGEST if tiling else None)
                except InputError as error:
                    skipped.append(str(error))
                    continue
                if not predictions:
                    _make_ready(out, [path for path in earlier if path.resolve() not in read])
                height, width = found.size
                entry = {"file": str(file), "width": width, "height": height, "boxes": found.to_json()}
                kept = f"the pictures of {len(predictions)} of {len(files)} images are kept"
                with writing(out, kept):
                    _save(drawing.draw(picture, scale, found), out / f"{_name(len(predictions), str(file))}.png")
                predictions.append((entry, found))
        finally:
            if predictions:
                with writing(out, f"the pictures of {len(predictions)} images are kept"):
                    write_results(predictions, bundle.classes, out)
    if not predictions:
        others = f" (and {len(skipped) - 1} more images cannot be read)" if len(skipped) > 1 else ""
        raise InputError(skipped[0] + others)
    entries = [entry for entry, _ in predictions]
    boxes = sum(len(found) for _, found in predictions)
    return {"images": len(entries), "boxes": boxes, "out": str(out), "predictions": entries, "skipped": skipped}


def earlier_files(out: Path) -> list[Path]:
    """The pictures and rows that an earlier run wrote into `out`, by what its predictions.json lists; every other file
    is the user's."""
    try:
        entries = json.loads((out / PREDICTIONS).read_text(encoding="utf-8"))
        names = [_name(number, entry["file"]) for number, entry in enumerate(entries)]
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return []
    return [path for name in names for path in (out / f"{name}.png", out / YOLO / f"{name}.txt")]


def _name(number: int, file: str) -> str:
    """Of the picture and the rows of an image, without suffix."""
    return f"{number:04d}-{Path(file).stem}"


def _make_ready(out: Path, stale: Sequence[Path]) -> None:
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        for path in (*stale, *(out / name for name in (PREDICTIONS, COCO_IMAGES, COCO_RESULTS, CSV))):
            path.unlink(missing_ok=True)


def _save(picture: Image.Image, path: Path) -> None:
    """Write a picture, or nothing."""
    try:
        picture.save(path)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def image_files(sources: Sequence[str | Path], leave_out: Sequence[Path] = ()) -> Iterator[Path]:
    """The image files that files, folders and patterns stand for; a folder that holds no image itself is looked into.

    Args:
        sources: as `predict_files` takes them.
        leave_out: files that only an own mention brings in.

    Raises:
        InputError: a source stands for no image.
    """
    left_out = {path.resolve() for path in leave_out}

    def chosen(paths: Iterable[Path]) -> list[Path]:
        images = (path for path in paths if is_image(path) and path.is_file())
        return [path for path in images if not left_out or path.resolve() not in left_out]

    for source in map(Path, sources):
        if source.is_file():
            yield source
            continue
        if source.is_dir():
            images = chosen(sorted(source.iterdir())) or chosen(list_images(source))
            problem = ("no images in this folder, nor in folders inside it", "")
        elif any(sign in str(source) for sign in "*?["):
            names = glob.glob(str(source), recursive=True)  # noqa: PTH207 (pathlib takes no absolute pattern)
            images, problem = (
                chosen(sorted(map(Path, names))),
                ("no image matches this pattern", "** goes into folders"),
            )
        else:
            images, problem = [], ("no such image or folder", "")
        if not images:
            raise InputError(problem[0], where=str(source), remedy=problem[1])
        yield from images


def write_results(predictions: Sequence[tuple[dict[str, Any], Detections]], classes: Sequence[str], out: Path) -> None:
    """Write predictions.json, COCO results with the images they refer to, YOLO rows and a table.

    Args:
        predictions: of each image its entry of predictions.json, whose figures are rounded, and what was found.
        classes: names in the order of the labels; COCO's category ids count from 1.
        out: folder that is there.
    """
    entries = [entry for entry, _ in predictions]
    (out / YOLO).mkdir(exist_ok=True)
    for number, entry in enumerate(entries):
        rows = "".join(f"{row}\n" for row in _yolo_rows(entry, classes))
        (out / YOLO / f"{_name(number, entry['file'])}.txt").write_text(rows)
    atomic_write(out / COCO_IMAGES, json.dumps(_coco_images(entries, classes)))
    atomic_write(out / COCO_RESULTS, json.dumps(_coco_results([found for _, found in predictions])))
    table = [(e["file"], b["class"], b["score"], *b["box"]) for e in entries for b in e["boxes"]]
    columns = ["file", "class", "score", "x1", "y1", "x2", "y2"]
    text = pd.DataFrame(table, columns=columns).to_csv(index=False)
    atomic_write(out / CSV, text.encode("utf-8", "surrogateescape"))  # names of files need not be UTF-8
    atomic_write(out / PREDICTIONS, json.dumps(entries, indent=1))


def _coco_images(entries: Sequence[dict[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    """A COCO file without annotations, for `COCO(...).loadRes(coco_results.json)`."""
    images = [
        {"id": number, "file_name": entry["file"], "width": entry["width"], "height": entry["height"]}
        for number, entry in enumerate(entries, 1)
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
    return {"info": {}, "images": images, "annotations": [], "categories": categories}


def _coco_results(predictions: Sequence[Detections]) -> list[dict[str, Any]]:
    """With all digits: equal scores would be ranked by chance, and another tool would find another AP."""
    results = []
    for number, found in enumerate(predictions, 1):
        columns = (found.boxes.tolist(), found.scores.tolist(), found.labels.tolist())
        for (x1, y1, x2, y2), score, label in zip(*columns, strict=True):
            result = {"image_id": number, "category_id": label + 1, "score": score, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            results.append(result)
        for result, code in zip(results[len(results) - len(found) :], found.mask_codes or (), strict=False):
            result["segmentation"] = {**code, "counts": code["counts"].decode()}
    return results


def _yolo_rows(entry: dict[str, Any], classes: Sequence[str]) -> list[str]:
    """Class, centre and sides as shares of the image, score."""
    width, height = entry["width"], entry["height"]
    rows = []
    for box in entry["boxes"]:
        x1, y1, x2, y2 = box["box"]
        shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        rows.append(f"{classes.index(box['class'])} {' '.join(f'{s:.6f}' for s in shares)} {box['score']:.4f}")
    return rows
