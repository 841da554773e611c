"""Objects in single images, seen whole or in overlapping tiles.

The detector runs as the search evaluated it, in float32 on the bundle's canvas, so boxes agree with recorded figures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torchvision.ops import batched_nms

from nasdet.data import Tiling, fit_image
from nasdet.data.cache import resize, with_channels
from nasdet.data.large_images import ImageLike, Scene, scene_of
from nasdet.data.tiles import Tile, grid
from nasdet.driver.inference.detections import Detections
from nasdet.errors import InputError
from nasdet.export import Bundle
from nasdet.export.bundle import tiling_of
from nasdet.models import Detections as FoundOnCanvas
from nasdet.models import Detector

TILE_BATCH = 8
"""Tiles that are detected at once."""
SMALLEST_TILE = 16
"""Pixels."""


def choose_tiling(bundle: Bundle, tile: int | str | None, overlap: int | None) -> Tiling | None:
    """How `--tile` and `--overlap` cut images; None if neither is given.

    Args:
        bundle: whose tiles or input size "auto" stands for.
        tile: pixels of a tile's longer side, or "auto": the tiles that the bundle was trained on, else tiles of the
            size of its input.
        overlap: pixels that neighbours share; None: a quarter of a tile.

    Raises:
        InputError: a value is wrong, or there is an overlap without tiles.
    """
    if tile is None:
        if overlap is not None:
            raise InputError("an overlap without tiles", where="--overlap", remedy="add --tile SIZE")
        return None
    trained, size, text = tiling_of(bundle.metrics), bundle.spec.input, str(tile)
    if text == "auto":
        text = str(trained.size if trained else max(size.height, size.width))
        overlap = trained.shared if trained and overlap is None else overlap
    if not text.isdecimal() or int(text) < SMALLEST_TILE:
        what = f"{text!r} is not a size of at least {SMALLEST_TILE} pixels"
        raise InputError(what, where="--tile", remedy="write for example 640, or auto")
    try:
        return Tiling(int(text), overlap)
    except ValueError as error:
        raise InputError(str(error), where="--overlap") from None


def predict_image(
    detector: Detector, image: ImageLike | Scene, classes: Sequence[str], *, score: float, tiling: Tiling | None
) -> Detections:
    """The objects of one image.

    Args:
        detector: in evaluation mode.
        image: a file, an array `(h, w)` or `(h, w, C)` of uint8 or uint16, or a Pillow image.
        classes: names in the order of the labels.
        score: least score that is kept.
        tiling: how the image is cut into tiles; None: it is seen whole. Of a tiled file only parts are in memory where
            its format allows it.

    Raises:
        InputError: the image cannot be read, or has other channels than the detector takes.
    """
    channels = detector.spec.input.channels
    opened = scene_of(image, alpha=channels == 4)
    scene = Scene(
        opened.path,
        opened.height,
        opened.width,
        lambda *part: with_channels(opened.part(*part), channels, str(opened.path)),
    )
    if tiling is None:
        found = detect_image(detector, scene.part(0, 0, scene.height, scene.width), score=score)
    else:
        found = detect_tiles(detector, scene, tiling, score=score)
    shown = image.path if isinstance(image, Scene) else image
    return Detections.of(found, classes, scene.height, scene.width, shown)


@torch.inference_mode()
def detect_image(detector: Detector, pixels: np.ndarray, *, score: float) -> FoundOnCanvas:
    """Objects of one image `(h, w, C)` uint8 or uint16; boxes xyxy in its own pixels, which may leave it."""
    size = detector.spec.input
    fitted, scale = fit_image(pixels, size.height, size.width)
    found = detector.detect(_canvases([fitted], detector), score_threshold=score)[0]
    return found._replace(boxes=found.boxes / scale)


@torch.inference_mode()
def detect_tiles(detector: Detector, scene: Scene, tiling: Tiling, *, score: float) -> FoundOnCanvas:
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
        parts += [_in_image(one, tile, f[2]) for one, tile, f in zip(found, batch, fitted, strict=True)]
    masks = [part.masks for part in parts if part.masks is not None]
    boxes, scores, labels = (torch.cat([getattr(p, name) for p in parts]) for name in ("boxes", "scores", "labels"))
    merged = FoundOnCanvas(boxes, scores, labels, torch.cat(masks) if masks else None)
    return merged.taken(batched_nms(boxes, scores.to(boxes), labels, detector.spec.head.nms_iou))


def _in_image(found: FoundOnCanvas, tile: Tile, scale: float) -> FoundOnCanvas:
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
