"""The largest type of error in words, and what to do about it. Sentences name figures of this data and fields of this
specification, so that advice can be followed without translating it into options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasdet.analysis.tide import MISSED, Outcomes
from nasdet.evaluation import Predictions
from nasdet.space.specs import DetectorSpec

WORTH = 0.005
"""Below this cost in AP50, the largest type of error is not worth a change."""
CELLS = 4.0
"""An object should be at least this many cells of the finest level wide."""


def advise(
    report: dict[str, Any], outcomes: Outcomes, found: Predictions, spec: DetectorSpec, images: Any
) -> list[str]:
    """Sentences about the largest type of error.

    Args:
        report: of `error_report`.
        outcomes: that came with it.
        found: the detections.
        spec: the detector.
        images: COCO's `images` of the split, for their sizes.
    """
    largest = report["types"][0]
    kind, cost = largest["type"], largest["ap50_cost"]
    if cost < WORTH:
        worth = f"{100 * WORTH:g} points of AP50"
        return [f"No type of error costs more than {worth}: what is left are boxes that could be tighter."]
    count, score = largest["count_at_working_score"], report["working_score"]
    head = f"Most is lost to {kind} errors: {100 * cost:.1f} points of AP50 ({count} at score {score:.2f} and above)."
    sides = _sides(kind, outcomes, found, spec, images, score)
    return [head, *_ADVICE[kind](report, spec, sides)]


def _sides(
    kind: str, outcomes: Outcomes, found: Predictions, spec: DetectorSpec, images: Any, score: float
) -> NDArray[np.float64]:
    """Sides on the canvas (root of the area, in pixels) of the objects that the errors concern."""
    chosen = np.unique(outcomes.nearest[(outcomes.kind == kind) & (found.scores >= score) & (outcomes.nearest >= 0)])
    if kind == MISSED:
        chosen = np.flatnonzero(outcomes.found_with < score)
    sizes = {i["id"]: min(spec.input.height / i["height"], spec.input.width / i["width"]) for i in images}
    objects = [outcomes.objects[row] for row in chosen]
    return np.array([a["area"] ** 0.5 * sizes[a["image_id"]] for a in objects])


def _classification(report: dict[str, Any], spec: DetectorSpec, sides: NDArray[np.float64]) -> list[str]:
    lines = []
    if report["confusions"]:
        most = report["confusions"][0]
        lines.append(f"Most often {most['class']} is taken for {most['taken_for']} ({most['count']} times).")
    wrong = sum(row["doubt"] == "wrong label" for row in report["labels_to_check"])
    if wrong:
        lines.append(f"Look at the {wrong} objects in labels.csv whose label may be wrong before anything else.")
    return [*lines, "Then: more images of the class that is mistaken, a longer training, less colour jitter."]


def _localisation(report: dict[str, Any], spec: DetectorSpec, sides: NDArray[np.float64]) -> list[str]:
    lines = _too_small(sides, spec)
    return lines or [
        "The objects are large enough on the canvas: check in worst-1.png whether labelled boxes are tight and of one "
        "kind, then train longer or with less scale jitter (recipe.augment.scale)."
    ]


def _both(report: dict[str, Any], spec: DetectorSpec, sides: NDArray[np.float64]) -> list[str]:
    return [
        "Class and place are wrong together, as early in a training: train longer; look at confusions.csv for pairs.",
        *_too_small(sides, spec),
    ]


def _duplicate(report: dict[str, Any], spec: DetectorSpec, sides: NDArray[np.float64]) -> list[str]:
    return [
        f"One object gets several boxes: lower head.nms_iou in the bundle's spec.json (now {spec.head.nms_iou:g}) and "
        "evaluate again, no training is needed; objects that overlap more than that are then found only once."
    ]


def _background(report: dict[str, Any], spec: DetectorSpec, sides: NDArray[np.float64]) -> list[str]:
    unlabelled = [row for row in report["labels_to_check"] if row["doubt"] == "missing annotation"]
    lines = []
    if unlabelled:
        lines.append(
            f"{len(unlabelled)} confident boxes lie on nothing labelled: look at them first (labels.csv, worst-1.png); "
            "if objects are there, the labels are incomplete and the true AP is higher."
        )
    return [*lines, "Else: add images without objects that look like those places, or train longer."]


def _missed(report: dict[str, Any], spec: DetectorSpec, sides: NDArray[np.float64]) -> list[str]:
    worst = max(report["classes"], key=lambda row: row[MISSED])
    lines = []
    if len(report["classes"]) > 1:
        lines.append(f"Most of them are {worst['class']}: {worst[MISSED]} of {worst['objects']}.")
    return [
        *lines,
        *(_too_small(sides, spec) or ["They are large enough on the canvas: more such images, longer training."]),
    ]


def _too_small(sides: NDArray[np.float64], spec: DetectorSpec) -> list[str]:
    """What to do if most of the objects have few cells of the finest level."""
    stride = spec.backbone.strides[spec.neck.levels[0]]
    if not len(sides) or np.median(sides) >= CELLS * stride:
        return []
    finer = f" or a finer level (neck.levels from {spec.neck.levels[0] - 1})"
    canvas = f"{spec.input.width}x{spec.input.height}"
    return [
        f"Half of these objects are under {np.median(sides):.0f} px on the {canvas} canvas, and the finest level has "
        f"one cell per {stride} px: try a larger input"
        + (finer if -spec.neck.levels[0] < len(spec.backbone.strides) else "")
        + "."
    ]


_ADVICE: dict[str, Callable[[dict[str, Any], DetectorSpec, NDArray[np.float64]], list[str]]] = {
    "classification": _classification,
    "localisation": _localisation,
    "both": _both,
    "duplicate": _duplicate,
    "background": _background,
    MISSED: _missed,
}
