"""What a trained bundle does: metrics on a split, boxes on images. One decision: both run the detector as the search
evaluated it, in float32 on the bundle's canvas, so figures and boxes agree with what was recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from nasdet.data import Dataset, fit_image, read_image
from nasdet.data.cache import with_channels
from nasdet.data.contact_sheet import class_colours, to_rgb
from nasdet.data.images import is_image
from nasdet.driver.plan import cpu_count
from nasdet.errors import InputError
from nasdet.evaluation import Predictions, paste, unpack
from nasdet.export import Bundle
from nasdet.export.bundle import writing
from nasdet.models import Detections, Detector
from nasdet.trainers.evaluate import PLAIN, evaluate, predict_split
from nasdet.trainers.ranks import Ranks
from nasdet.trainers.views import Views

CAPTION = 12
"""Pixels of a caption's letters."""
TINT = 110
"""Opacity of a mask's colour, of 255."""


def best_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def evaluate_bundle(bundle: Bundle, dataset: Dataset, split: str, views: Views = PLAIN) -> dict[str, float]:
    """The COCO figures of a bundle on a split, `images` and `images_per_second`; each image in all `views`.

    Raises:
        InputError: the data set has other classes or channels than the bundle, or no such split.
    """
    _check_fits(bundle, dataset)
    count = len(dataset.images(split))
    device = best_device()
    torch.set_num_threads(cpu_count())
    figures = evaluate(bundle.load_detector(str(device)), dataset, split, Ranks(device), views)
    return {**figures, "images": count}


def predict_bundle(bundle: Bundle, dataset: Dataset, split: str) -> Predictions:
    """What a bundle finds in a split, as it is evaluated.

    Raises:
        InputError: as `evaluate_bundle`.
    """
    _check_fits(bundle, dataset)
    device, size = best_device(), bundle.spec.input
    torch.set_num_threads(cpu_count())
    pixels = dataset.cached(split, size.height, size.width)
    return predict_split(bundle.load_detector(str(device)), pixels, Ranks(device))


def _check_fits(bundle: Bundle, dataset: Dataset) -> None:
    classes, channels = dataset.info.classes, dataset.info.channels
    if tuple(classes) != tuple(bundle.classes):
        raise InputError(
            f"the data set's classes {_some(classes)} are not the bundle's {_some(bundle.classes)}",
            where=dataset.info.source,
            remedy="evaluate on data of the same classes",
        )
    if channels != bundle.spec.input.channels:
        raise InputError(
            f"images have {channels} channels, the bundle takes {bundle.spec.input.channels}", where=dataset.info.source
        )


def predict_images(bundle: Bundle, sources: Sequence[Path], out: Path, *, score: float) -> dict[str, Any]:
    """Write each image with its boxes to `out`, and all boxes to `out/predictions.json`.

    Args:
        bundle: the detector.
        sources: image files and folders of images.
        out: folder to write; made if missing.
        score: least score that is kept.

    Returns:
        `images`, `boxes`, `out`, and `predictions`: one entry per image as in predictions.json
        (`file`, `width`, `height`, `boxes`: class, score, xyxy pixels of the image, and from mask heads `mask`, COCO's
        run-length code).

    Raises:
        InputError: an image cannot be read, or `out` cannot be written.
    """
    files = list(_image_files(sources))
    device = best_device()
    torch.set_num_threads(cpu_count())
    detector = bundle.load_detector(str(device))
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    entries, channels = [], bundle.spec.input.channels
    for number, file in enumerate(files):
        pixels = with_channels(read_image(file, alpha=channels == 4), channels, str(file))
        boxes = listed(detect_image(detector, pixels, score=score), bundle.classes, *pixels.shape[:2])
        entries.append({"file": str(file), "width": pixels.shape[1], "height": pixels.shape[0], "boxes": boxes})
        with writing(out):
            draw(pixels, boxes, bundle.classes).save(out / f"{number:04d}-{file.stem}.png")
    with writing(out):
        (out / "predictions.json").write_text(json.dumps(entries, indent=1))
    total = sum(len(entry["boxes"]) for entry in entries)
    return {"images": len(files), "boxes": total, "out": str(out), "predictions": entries}


@torch.inference_mode()
def detect_image(detector: Detector, pixels: np.ndarray, *, score: float) -> Detections:
    """Objects of one image `(h, w, C)` uint8 or uint16; boxes xyxy in its own pixels, which may leave it."""
    size = detector.spec.input
    fitted, scale = fit_image(pixels, size.height, size.width)
    canvas = np.empty((size.height, size.width, size.channels), np.float32)
    canvas[:] = size.mean
    canvas[: fitted.shape[0], : fitted.shape[1]] = fitted
    images = torch.from_numpy(canvas).permute(2, 0, 1)[None].to(next(detector.parameters()).device)
    found = detector.detect(images, score_threshold=score)[0]
    return found._replace(boxes=found.boxes / scale)


def listed(found: Detections, classes: Sequence[str], height: int, width: int) -> list[dict[str, Any]]:
    """Objects of a `height` x `width` image as JSON values: `class`, `score`, `box` cut to the image, `mask` if any."""
    corners = found.boxes.double().cpu().numpy()
    boxes = np.clip(corners, 0, [width, height, width, height])
    columns = (boxes.tolist(), found.scores.tolist(), found.labels.tolist())
    entries: list[dict[str, Any]] = [
        {"class": classes[label], "score": round(score, 4), "box": [round(v, 2) for v in box]}
        for box, score, label in zip(*columns, strict=True)
    ]
    if found.masks is not None:
        for entry, code in zip(entries, paste(found.masks.float().cpu().numpy(), corners, height, width), strict=True):
            entry["mask"] = {**code, "counts": code["counts"].decode()}
    return entries


def draw(pixels: np.ndarray, boxes: list[dict[str, Any]], classes: Sequence[str]) -> Image.Image:
    """The image with masks, boxes, class names and scores."""
    picture, colours = to_rgb(pixels), class_colours(len(classes))
    for box in boxes:
        if "mask" in box:
            tint = Image.new("RGB", picture.size, colours[classes.index(box["class"])])
            picture.paste(tint, mask=Image.fromarray(unpack(box["mask"]) * np.uint8(TINT)))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(CAPTION)
    for box in boxes:
        colour, text = colours[classes.index(box["class"])], f"{box['class']} {box['score']:.2f}"
        x1, y1, x2, y2 = box["box"]
        pen.rectangle((x1, y1, x2, y2), outline=colour, width=2)
        top = y1 - CAPTION - 3 if y1 >= CAPTION + 3 else y1
        pen.rectangle((x1, top, x1 + pen.textlength(text, font) + 4, top + CAPTION + 3), fill=colour)
        pen.text((x1 + 2, top), text, (255, 255, 255), font=font)
    return picture


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:5])} ({len(names)})"


def _image_files(sources: Sequence[Path]) -> Iterator[Path]:
    for source in sources:
        if source.is_dir():
            files = sorted(f for f in source.iterdir() if f.is_file() and is_image(f))
            if not files:
                raise InputError("no images in this folder", where=str(source))
            yield from files
        elif source.is_file():
            yield source
        else:
            raise InputError("no such image or folder", where=str(source))
