"""Bootstrap of AP: how much it would differ on other images, from resamples of the split's images.

One decision: detections are matched once, and a resample only weighs each image by how often it was drawn, so that 200
resamples cost about as much as one evaluation. They are the same for every detector of a split, so that two detectors
can be compared on the same images.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nasdet.evaluation.coco_metrics import Predictions
from nasdet.evaluation.matching import MOST_BOXES, match
from nasdet.files import atomic_path

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
POINTS = np.linspace(0, 1, 101)
"""Recalls at which COCO reads the precision."""
FILE = "resamples.npz"
"""In a trial's folder: AP and AP50 of each resample."""
COUNT = 200
LEVEL = 0.9
"""Share of the resamples that lie within an interval."""
LOW, HIGH = "_low", "_high"
"""Endings of the names of an interval's ends: `ap_low`, `ap_high`."""
NAMES = ("ap", "ap50")


def draws(images: int, count: int = COUNT) -> Counts:
    """`(count, images)`: how often each of `count` resamples draws each image; the same at every call."""
    return np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), size=count)


def resample(
    ground_truth: dict[str, Any], predictions: Predictions, weights: Counts | None = None, *, most: int = MOST_BOXES
) -> dict[str, Floats]:
    """AP and AP50 of boxes, `(R,)` each, on R resamples of the images; NaN where a resample has no object.

    Args:
        ground_truth: as in `coco_metrics`.
        predictions: as in `coco_metrics`.
        weights: `(R, images)`, how often each image counts, images in the order of their ids; None: `draws`.
        most: as in `coco_metrics`.
    """
    ids = sorted(image["id"] for image in ground_truth["images"])
    columns = np.ascontiguousarray((draws(len(ids)) if weights is None else weights).T)
    place = {image: i for i, image in enumerate(ids)}
    # AP is the mean over the classes of which a resample has objects.
    total = np.zeros((2, columns.shape[1]))
    classes = np.zeros(columns.shape[1])
    for matches in _by_class(ground_truth, predictions, most).values():
        precision, present = _average_precision(matches, place, columns)
        total += np.where(present, [precision.mean(axis=0), precision[0]], 0.0)
        classes += present
    with np.errstate(invalid="ignore"):
        return dict(zip(NAMES, total / classes, strict=True))


def intervals(resamples: Mapping[str, Floats], figures: Mapping[str, float]) -> dict[str, float]:
    """`ap_low`, `ap_high`, ...: the interval of the middle `LEVEL` of the resamples, widened to contain the figure;
    none for a figure without objects."""
    tail = (1 - LEVEL) / 2
    ends: dict[str, float] = {}
    for name, values in resamples.items():
        known = values[np.isfinite(values)]
        if len(known) and figures[name] >= 0:
            low, high = np.quantile(known, [tail, 1 - tail])
            ends |= {name + LOW: min(float(low), figures[name]), name + HIGH: max(float(high), figures[name])}
    return ends


def write_resamples(folder: Path, resamples: Mapping[str, Floats]) -> None:
    """Leave `FILE` in a trial's folder, atomically."""
    with atomic_path(folder / FILE) as part, part.open("wb") as file:
        np.savez(file, **{name: values.astype(np.float32) for name, values in resamples.items()})  # type: ignore[arg-type]


def read_resamples(folder: Path) -> dict[str, Floats]:
    """What `write_resamples` left; empty if nothing did, or the file is damaged."""
    try:
        with np.load(folder / FILE, allow_pickle=False) as file:
            return {name: file[name].astype(np.float64) for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return {}


def _by_class(ground_truth: dict[str, Any], predictions: Predictions, most: int) -> dict[int, list[dict[str, Any]]]:
    """The matches of each image with boxes of any size, by category."""
    if not ground_truth["annotations"]:
        return {}
    found: dict[int, list[dict[str, Any]]] = {}
    for image in match(ground_truth, predictions.to_coco_array(), most=most, by_size=False).eval_imgs:
        if image is not None:
            found.setdefault(image["category_id"], []).append(image)
    return found


def _average_precision(
    matches: list[dict[str, Any]], place: dict[int, int], weights: Counts
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Average precision `(10, R)` of one class at each IoU threshold, and `(R,)` whether the resample has the class."""
    # Detections of all images by falling score, equal scores in the order of the images, as COCO sorts them. The weight
    # of a detection (D, R) is how often each resample drew its image.
    matches = sorted(matches, key=lambda m: place[m["image_id"]])
    rows = [place[m["image_id"]] for m in matches]
    objects = np.array([np.sum(m["gtInDenominator"]) for m in matches], np.int64) @ weights[rows]
    scores = np.concatenate([np.asarray(m["dtScores"], np.float64) for m in matches])
    order = np.argsort(-scores, kind="stable")
    weight = weights[np.repeat(rows, [len(m["dtScores"]) for m in matches])[order].astype(np.int64)]
    matched, ignored = (_stack(matches, key)[:, order] for key in ("dtMatched", "dtIgnore"))
    seen, needed = np.cumsum(weight, axis=0), _needed(objects)
    precision = np.zeros((len(matched), weights.shape[1]))
    for t, (hit, out) in enumerate(zip(matched, ignored, strict=True)):
        # Only true positives matter: recall changes at them, and precision is highest there. Detections before each of
        # them are counted by cumulative sums, without those that COCO ignores.
        at, without = np.flatnonzero(hit & ~out), np.flatnonzero(out)
        counted = seen[at]
        if len(without):
            before = np.cumsum(np.vstack([np.zeros_like(weight[:1]), weight[without]]), axis=0)
            counted = counted - before[np.searchsorted(without, at)]
        precision[t] = _area(np.cumsum(weight[at], axis=0), counted, needed)
    return precision, objects > 0


def _stack(matches: list[dict[str, Any]], key: str) -> npt.NDArray[np.bool_]:
    return np.concatenate([np.asarray(m[key], np.bool_).reshape(10, -1) for m in matches], axis=1)


def _needed(objects: Counts) -> Counts:
    """`(R, 101)`: the fewest true positives whose recall reaches each of COCO's 101 recalls, for `objects` `(R,)`."""
    total = np.maximum(objects, 1)[:, None]
    fewest = np.ceil(POINTS * total - 1e-6).astype(np.int64)
    return fewest + (fewest / total < POINTS)


def _area(true: Counts, counted: Counts, needed: Counts) -> Floats:
    """COCO's 101-point mean of the precision `(R,)` from running counts `(true positives, R)`."""
    length, resamples = true.shape
    if not length:
        return np.zeros(resamples)
    # COCO reads, at each recall, the highest precision at it or at any higher one: a running maximum from the end.
    precision = true / np.maximum(counted, 1)
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    # One search for all resamples: each one's counts are lifted above those of the one before.
    lift = np.arange(resamples)[:, None] * (max(int(true[-1].max()), int(needed.max())) + 1)
    reached = np.searchsorted((true.T + lift).ravel(), (needed + lift).ravel()).reshape(needed.shape)
    reached -= np.arange(resamples)[:, None] * length
    padded = np.vstack([envelope, np.zeros(resamples)])
    area: Floats = padded[np.minimum(reached, length), np.arange(resamples)[:, None]].mean(axis=1)
    return area
