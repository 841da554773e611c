"""Figures and advice that a user should read before training on a data set, as plain JSON values."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from nasdet.data.dataset import Dataset
from nasdet.data.narrow_boxes import LEAST_CELLS, STRIDE, TrainingBoxes, narrow_advice
from nasdet.data.records import ImageRecord

FEW_IMAGES = 1000
"""Training images below which scratch training is expected to lose against pre-training (Rethinking ImageNet
Pre-training found it to fail at 1,000 COCO images)."""
_SMALL, _MEDIUM = 32**2, 96**2
_QUANTILES = (0, 5, 25, 50, 75, 95, 100)
_WANTED_SIDE = 32
"""Canvas pixels of a small object's longer side: four cells of a stride-8 level."""
_LARGE_IMAGE = 2000
"""Pixels of an image's longer side from which on it is better cut into tiles."""
_SIZES = (96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024)


def describe(dataset: Dataset) -> dict[str, Any]:
    """Return images, classes, box sizes, defects and advice as JSON values.

    Box sizes are in original pixels: `small`, `medium`, `large` by COCO's areas (32^2, 96^2) as shares, and quantiles
    of the side (square root of the area). `too_narrow` is the share of training boxes that no level at stride 8 can
    learn on an input of `suggested_size`.
    """
    info = dataset.info
    out = info.to_json()
    out["defects"] = [dataclasses.asdict(defect) for defect in info.defects]
    out["objects"] = {split: _objects(dataset, split) for split in info.splits}
    boxes = _boxes(dataset)
    out["class_counts"] = _class_counts(dataset)
    out["box_sizes"] = _sizes(boxes)
    out["suggested_size"] = suggest_size(dataset)
    out["too_narrow"] = TrainingBoxes.of(dataset).share_on(out["suggested_size"], STRIDE)
    out["advice"] = _advice(dataset, out)
    return out


def suggest_size(dataset: Dataset) -> int:
    """Long side of the canvas at which nine of ten training boxes measure 32 pixels, and as many are wide enough to be
    learnt, at most the images' own, or the tiles'."""
    images = dataset.images("train")
    longest_sides = [_side_on_canvas(dataset, record) for record in images]
    relative = np.concatenate(
        [(r.boxes[:, 2:] - r.boxes[:, :2]) / side for r, side in zip(images, longest_sides, strict=True)]
    )
    wanted = max(
        pixels / max(float(np.quantile(sides, 0.1)), 1e-6)
        for pixels, sides in ((_WANTED_SIDE, relative.max(1)), (LEAST_CELLS * STRIDE, relative.min(1)))
    )
    longest = float(np.median(longest_sides))
    limit = max((s for s in _SIZES if s <= longest), default=_SIZES[0])
    return next((s for s in _SIZES if s >= wanted and s <= limit), limit)


def _side_on_canvas(dataset: Dataset, record: ImageRecord) -> int:
    """Longer side in pixels of what is resized to the canvas: the image, or a tile of it."""
    tiling = dataset.info.tiling
    return tiling.size if tiling else max(record.width, record.height)


def _objects(dataset: Dataset, split: str) -> dict[str, int]:
    records = dataset.images(split)
    return {
        "images": len(records),
        "boxes": sum(int((~r.crowd).sum()) for r in records),
        "ignore_regions": sum(int(r.crowd.sum()) for r in records),
        "empty_images": sum(not len(r.boxes) for r in records),
        "groups": len({r.group for r in records if r.group}),
    }


def _boxes(dataset: Dataset) -> npt.NDArray[np.float32]:
    """All boxes of all splits without ignore regions, `(n, 4)`."""
    own = [r.boxes[~r.crowd] for split in dataset.info.splits for r in dataset.images(split)]
    return np.concatenate(own)


def _class_counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Boxes of each class in each split."""
    classes = dataset.info.classes
    counts = {name: dict.fromkeys(dataset.info.splits, 0) for name in classes}
    for split in dataset.info.splits:
        labels = np.concatenate([r.labels[~r.crowd] for r in dataset.images(split)])
        for label, count in enumerate(np.bincount(labels, minlength=len(classes))):
            counts[classes[label]][split] = int(count)
    return counts


def _sizes(boxes: npt.NDArray[np.float32]) -> dict[str, Any]:
    sides = boxes[:, 2:] - boxes[:, :2]
    area = sides.prod(1)
    root = np.sqrt(area)
    ratio = sides[:, 0] / sides[:, 1]
    return {
        "small": float((area < _SMALL).mean()),
        "medium": float(((area >= _SMALL) & (area < _MEDIUM)).mean()),
        "large": float((area >= _MEDIUM).mean()),
        "side_quantiles": {str(q): round(float(np.percentile(root, q)), 1) for q in _QUANTILES},
        "aspect_quantiles": {str(q): round(float(np.percentile(ratio, q)), 2) for q in _QUANTILES},
    }


def _advice(dataset: Dataset, facts: dict[str, Any]) -> list[str]:
    """Advice that follows from the figures, one sentence each."""
    advice = []
    train = facts["splits"]["train"]
    if train < FEW_IMAGES and (dataset.info.channels, dataset.info.bits) == (3, 8):
        advice.append(
            f"{train} training images, fewer than {FEW_IMAGES}: if they are photographs of things that ImageNet knows, "
            "scratch training is expected to lose against pre-training; `nasdet analyze --what convergence` measures it"
        )
    advice.append(
        f"an input of {facts['suggested_size']} px (long side) shows nine of ten boxes at {_WANTED_SIDE} px or more, "
        "or is the images' own size"
    )
    if narrow := narrow_advice(TrainingBoxes.of(dataset), facts["suggested_size"], _SIZES):
        advice.append(narrow)
    advice += _tile_advice(dataset)
    rare = [name for name, counts in facts["class_counts"].items() if counts["train"] < 20]
    if rare:
        listed = ", ".join(rare[:5]) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
        advice.append(f"classes with fewer than 20 training boxes are hardly learned: {listed}")
    if facts["objects"]["val"]["boxes"] < 200:
        boxes = facts["objects"]["val"]["boxes"]
        advice.append(f"{boxes} boxes in val: its AP is noisy, differences of a few hundredths mean little")
    leaks = [d for d in facts["defects"] if d["kind"] == "same image in two splits"]
    if leaks:
        advice.append(f"{leaks[0]['count']} images stand in two splits: validation figures are too good")
    return advice


def _tile_advice(dataset: Dataset) -> list[str]:
    """If images are cut into tiles: whether objects fit into the overlap. If not: whether they should be cut."""
    tiling, records = dataset.info.tiling, dataset.images("train")
    if tiling is None:
        longest = int(np.median([max(r.width, r.height) for r in records]))
        large = (
            f"images of {longest} px lose small objects on the canvas: `tile: {{size: 512}}` in a data YAML cuts them"
        )
        return [large] if longest >= _LARGE_IMAGE else []
    sides = np.concatenate([(r.boxes[:, 2:] - r.boxes[:, :2])[~r.crowd].max(1, initial=0) for r in records])
    over = int((sides > tiling.shared).sum())
    pieces = (
        f"{over} of {len(sides)} training objects are larger than the tiles' overlap of {tiling.shared} px and may be "
        "found in pieces: choose a larger overlap"
    )
    return [pieces] if over else []
