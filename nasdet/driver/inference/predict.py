"""What a trained bundle does: metrics on a split, boxes on images. One decision: both run the detector as the search
evaluated it, in float32 on the bundle's canvas, so figures and boxes agree with what was recorded."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torchvision.ops import batched_nms

from nasdet.data import Dataset, Tiling, fit_image
from nasdet.data.cache import resize, with_channels
from nasdet.data.contact_sheet import class_colours, preview, to_rgb
from nasdet.data.images import is_image
from nasdet.data.large_images import Scene, open_scene
from nasdet.data.tiles import Tile, grid
from nasdet.driver.inference.prediction_files import write_found
from nasdet.driver.resources import cpu_count
from nasdet.errors import InputError
from nasdet.evaluation import Predictions, paste, unpack
from nasdet.export import Bundle
from nasdet.export.bundle import writing
from nasdet.models import Detections, Detector
from nasdet.trainers.evaluate import PLAIN, evaluate, predict_split
from nasdet.trainers.ranks import Ranks
from nasdet.trainers.test_time_augmentation import Views

CAPTION = 12
"""Pixels of a caption's letters."""
TINT = 110
"""Opacity of a mask's colour, of 255."""

TILE_BATCH = 8
"""Tiles that are detected at once."""
LARGEST = 4096
"""Pixels of the longer side of a picture of a tiled image."""


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


def predict_images(
    bundle: Bundle, sources: Sequence[Path], out: Path, *, score: float, tiling: Tiling | None = None
) -> dict[str, Any]:
    """Write each image with its boxes to `out`, all boxes to `out/predictions.json`, and what `write_found` writes.

    Of images that are cut into tiles only parts are held where their format allows it, and their pictures are scaled
    down to at most `LARGEST` pixels, without masks.

    Args:
        bundle: the detector.
        sources: image files, folders of images, and patterns such as scans/**/*.png.
        out: folder to write; made if missing.
        score: least score that is kept.
        tiling: how images are cut into tiles; None: each is seen whole.

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
    entries = []
    for number, file in enumerate(files):
        entry, picture, scale = _look(detector, file, tiling, bundle.classes, score)
        entries.append(entry)
        with writing(out):
            draw(picture, entry["boxes"], bundle.classes, scale).save(out / f"{number:04d}-{file.stem}.png")
    with writing(out):
        (out / "predictions.json").write_text(json.dumps(entries, indent=1))
        write_found(entries, [f"{number:04d}-{file.stem}" for number, file in enumerate(files)], bundle.classes, out)
    total = sum(len(entry["boxes"]) for entry in entries)
    return {"images": len(files), "boxes": total, "out": str(out), "predictions": entries}


def _look(
    detector: Detector, file: Path, tiling: Tiling | None, classes: Sequence[str], score: float
) -> tuple[dict[str, Any], Image.Image, float]:
    """The entry of a file in predictions.json, its picture without boxes, and the picture's scale."""
    scene = _scene(file, detector.spec.input.channels)
    if tiling is None:
        pixels = scene.part(0, 0, scene.height, scene.width)
        found, picture, scale = detect_image(detector, pixels, score=score), to_rgb(pixels), 1.0
    else:
        found = detect_tiles(detector, scene, tiling, score=score)
        picture, scale = preview(scene, LARGEST)
    boxes = listed(found, classes, scene.height, scene.width)
    return {"file": str(file), "width": scene.width, "height": scene.height, "boxes": boxes}, picture, scale


@torch.inference_mode()
def detect_image(detector: Detector, pixels: np.ndarray, *, score: float) -> Detections:
    """Objects of one image `(h, w, C)` uint8 or uint16; boxes xyxy in its own pixels, which may leave it."""
    size = detector.spec.input
    fitted, scale = fit_image(pixels, size.height, size.width)
    found = detector.detect(_canvases([fitted], detector), score_threshold=score)[0]
    return found._replace(boxes=found.boxes / scale)


@torch.inference_mode()
def detect_tiles(detector: Detector, scene: Scene, tiling: Tiling, *, score: float) -> Detections:
    """Objects of an image that is seen in tiles, merged as in an evaluation; boxes (float64) in pixels of the image."""
    size = detector.spec.input
    tiles, parts = grid(scene.height, scene.width, tiling, (size.height, size.width)), []
    for first in range(0, len(tiles), TILE_BATCH):
        batch = tiles[first : first + TILE_BATCH]
        fitted = [t.fitted(size.height, size.width) for t in batch]
        shown = [
            resize(scene.part(t.top, t.left, t.height, t.width), *f[:2]) for t, f in zip(batch, fitted, strict=True)
        ]
        found = detector.detect(_canvases(shown, detector), score_threshold=score)
        parts += [_placed(one, tile, f[2]) for one, tile, f in zip(found, batch, fitted, strict=True)]
    masks = [part.masks for part in parts if part.masks is not None]
    boxes, scores, labels = (torch.cat([getattr(p, name) for p in parts]) for name in ("boxes", "scores", "labels"))
    merged = Detections(boxes, scores, labels, torch.cat(masks) if masks else None)
    return merged.taken(batched_nms(boxes, scores.to(boxes), labels, detector.spec.head.nms_iou))


def _placed(found: Detections, tile: Tile, scale: float) -> Detections:
    """What a tile found and no other tile shows better, in pixels of the image."""
    boxes = found.boxes.double() / scale
    kept = torch.from_numpy(tile.owns(boxes.cpu().numpy())).to(boxes.device)
    corner = boxes.new_tensor([tile.left, tile.top] * 2)
    return found._replace(boxes=boxes + corner).taken(kept)


def _canvases(shown: Sequence[np.ndarray], detector: Detector) -> torch.Tensor:
    """`(B, C, H, W)` float32: fitted images `(h, w, C)` at the top left, the rest filled with the mean."""
    size = detector.spec.input
    canvases = np.empty((len(shown), size.height, size.width, size.channels), np.float32)
    canvases[:] = size.mean
    for canvas, pixels in zip(canvases, shown, strict=True):
        canvas[: pixels.shape[0], : pixels.shape[1]] = pixels
    return torch.from_numpy(canvases).permute(0, 3, 1, 2).to(next(detector.parameters()).device)


def _scene(file: Path, channels: int) -> Scene:
    """An image file with the bundle's channels."""
    scene = open_scene(file, alpha=channels == 4)
    return Scene(file, scene.height, scene.width, lambda *part: with_channels(scene.part(*part), channels, str(file)))


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


def draw(picture: Image.Image, boxes: list[dict[str, Any]], classes: Sequence[str], scale: float = 1.0) -> Image.Image:
    """The picture of an image, at a scale, with boxes, class names and scores, and at scale 1 with masks."""
    colours = class_colours(len(classes))
    for box in boxes:
        if "mask" in box and scale == 1:
            tint = Image.new("RGB", picture.size, colours[classes.index(box["class"])])
            picture.paste(tint, mask=Image.fromarray(unpack(box["mask"]) * np.uint8(TINT)))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(CAPTION)
    for box in boxes:
        colour, text = colours[classes.index(box["class"])], f"{box['class']} {box['score']:.2f}"
        x1, y1, x2, y2 = (scale * v for v in box["box"])
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
        elif any(sign in str(source) for sign in "*?["):
            names = sorted(glob.glob(str(source), recursive=True))  # noqa: PTH207 (pathlib takes no absolute pattern)
            files = [f for f in map(Path, names) if f.is_file() and is_image(f)]
            if not files:
                raise InputError("no image matches this pattern", where=str(source), remedy="** goes through folders")
            yield from files
        else:
            raise InputError("no such image or folder", where=str(source))
