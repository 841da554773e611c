"""What a detector gets wrong and what that costs: TIDE's error types (Bolya et al. 2020), with tables of where.

Costs are TIDE's: points of AP50 over all detections, of any score; hotcoco computes them. Tables count at the working
score, the score with the best F1, because a person who uses the detector sees only the boxes above it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from nasdet.errors import InputError
from nasdet.evaluation import Predictions, match

FOUND_AT, BACKGROUND_AT = 0.5, 0.1
"""IoU from which a box has found an object, and up to which it lies on background."""
CORRECT, IGNORED, BACKGROUND = "correct", "ignored", "background"
FALSE = ("classification", "localisation", "both", "duplicate", BACKGROUND)
"""The types of false positives, in TIDE's order."""
MISSED = "missed"
TYPES = (*FALSE, MISSED)
SHORT = dict(zip(TYPES, ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), strict=True))
"""Type -> its name in TIDE's paper and tools."""
SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, float("inf"))}
"""COCO's sizes by area in pixels of the original image."""
CONFIDENCES = tuple(round(0.05 * step, 2) for step in range(1, 20))
HUNDREDTHS = [step / 100 for step in range(101)]
"""Recalls at which TIDE reads the precision. COCO's differ from them by a rounding error, by which a recall such as
0.35 (7 of 20 objects) is read a whole hundredth further on."""
Table = list[dict[str, Any]]
Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """Columns over the N detections and the M objects (crowds left out) of a split, M in the order of the truth.

    An outcome does not change when detections of lower scores are left out.
    """

    kind: npt.NDArray[np.str_]
    """`(N,)`: correct, one of `FALSE`, or ignored (in a crowd, or beyond the 100 best of an image)."""
    nearest: npt.NDArray[np.int64]
    """`(N,)` row of the object that the detection found or that explains its error; -1 if there is none."""
    found_with: npt.NDArray[np.float64]
    """`(M,)` score of the detection that found the object; -1 if none did."""
    objects: tuple[dict[str, Any], ...]
    """The M objects as COCO annotations."""


def error_report(truth: dict[str, Any], found: Predictions) -> tuple[dict[str, Any], Outcomes]:
    """All figures of an error analysis as JSON values, and what became of each box.

    Args:
        truth: COCO ground truth of a split with category id = label + 1.
        found: detections of the same images.

    Raises:
        InputError: the split has no objects.
    """
    if all(a["iscrowd"] for a in truth["annotations"]):
        raise InputError("no objects in this split", remedy="choose another with --split")
    run = match(truth, found.to_coco_array())
    run.accumulate()
    precision = run.eval["precision"]
    diagnostics = run.image_diagnostics(iou_thr=FOUND_AT)
    outcomes = explain_detections(truth, found, diagnostics)
    score = working_score(outcomes, found)
    names = [category["name"] for category in truth["categories"]]
    calibration = run.calibration(iou_threshold=FOUND_AT)
    confusions = _confusions(run, names, score)
    # The same matches once more, read at TIDE's recalls instead of COCO's.
    params = run.params
    params.rec_thrs = HUNDREDTHS
    run.params = params
    run.accumulate()
    costs = run.tide_errors(pos_thr=FOUND_AT, bg_thr=BACKGROUND_AT)
    report = {
        "images": len(truth["images"]),
        "objects": len(outcomes.objects),
        "detections": len(found.scores),
        **_average_precisions(precision, slice(None), 0),
        "working_score": score,
        "tide_ap50": costs["ap_base"],
        "types": _types(costs, outcomes, found, score),
        "confidence": _confidence(outcomes, found, len(truth["images"])),
        "classes": _classes(precision, calibration["per_category"], outcomes, found, score, names),
        "sizes": _sizes(precision, outcomes, found, score),
        "confusions": confusions,
        "calibration": _calibration(calibration),
        "labels_to_check": _doubtful_labels(truth, diagnostics["label_errors"]),
    }
    return report, outcomes


def working_score(outcomes: Outcomes, found: Predictions) -> float:
    """The lowest score to keep for the best F1 over all classes at IoU 0.5; 0 if no detection is correct."""
    counted = outcomes.kind != IGNORED
    scores, right = found.scores[counted], (outcomes.kind == CORRECT)[counted]
    if not right.any():
        return 0.0
    # F1 = 2 TP / (detections kept + objects), after each detection from the highest score down.
    order = np.argsort(-scores, kind="stable")
    f1 = 2 * np.cumsum(right[order]) / (np.arange(1, len(order) + 1) + len(outcomes.objects))
    return float(scores[order][int(f1.argmax())])


def _types(tide: dict[str, Any], outcomes: Outcomes, found: Predictions, score: float) -> Table:
    """One row per type, the one that costs most first."""
    kinds = outcomes.kind[found.scores >= score]
    costs = {**tide["delta_ap"], SHORT[MISSED]: _missed_cost(tide, outcomes, found)}
    rows = [
        {
            "type": kind,
            "short": short,
            "ap50_cost": float(costs[short]),
            "count": int(tide["counts"][short]),
            "count_at_working_score": int((kinds == kind).sum()),
        }
        for kind, short in SHORT.items()
    ]
    rows[-1]["count_at_working_score"] = int((outcomes.found_with < score).sum())
    return sorted(rows, key=lambda row: -row["ap50_cost"])


def _missed_cost(tide: dict[str, Any], outcomes: Outcomes, found: Predictions) -> float:
    """AP50 if missed objects were not there, less AP50.

    A class may then have neither objects nor detections. TIDE leaves it out of the mean over classes, hotcoco counts it
    as 0, so hotcoco's mean over all classes becomes one over the classes that remain.
    """
    # An object remains if a detection found it, or if a localisation or classification error points at it.
    pointed_at = outcomes.nearest[np.isin(outcomes.kind, ("localisation", "classification"))]
    labels = np.array([a["category_id"] - 1 for a in outcomes.objects])
    classes = set(labels)
    remaining = set(labels[outcomes.found_with >= 0]) | set(labels[pointed_at])
    remaining |= classes & set(found.labels[outcomes.kind != IGNORED])
    base, gained = float(tide["ap_base"]), float(tide["delta_ap"][SHORT[MISSED]])
    return (base + gained) * len(classes) / len(remaining) - base if remaining else 0.0


def _counts(kinds: npt.NDArray[np.str_], missed: int) -> dict[str, Any]:
    """Outcomes of some detections and how many of their objects were not found, with precision and recall."""
    correct, false = int((kinds == CORRECT).sum()), int(np.isin(kinds, FALSE).sum())
    return {
        "correct": correct,
        "false": false,
        "precision": correct / (correct + false) if correct + false else None,
        "recall": correct / (correct + missed) if correct + missed else None,
        **{kind: int((kinds == kind).sum()) for kind in FALSE},
        MISSED: missed,
    }


def _confidence(outcomes: Outcomes, found: Predictions, images: int) -> Table:
    rows = []
    for least in CONFIDENCES:
        counts = _counts(outcomes.kind[found.scores >= least], int((outcomes.found_with < least).sum()))
        rows.append({"score": least, "false_per_image": counts["false"] / images, **counts})
    return rows


def _classes(
    precision: Floats, errors: dict[str, float], outcomes: Outcomes, found: Predictions, score: float, names: list[str]
) -> Table:
    """One row per class; `errors` are the classes' calibration errors."""
    labels = np.array([a["category_id"] - 1 for a in outcomes.objects])
    kept = found.scores >= score
    rows = []
    for label, name in enumerate(names):
        missed = int((outcomes.found_with[labels == label] < score).sum())
        rows.append(
            {
                "class": name,
                "objects": int((labels == label).sum()),
                **_average_precisions(precision, label, 0),
                **_counts(outcomes.kind[kept & (found.labels == label)], missed),
                "calibration_error": errors.get(name),
            }
        )
    return rows


def _sizes(precision: Floats, outcomes: Outcomes, found: Predictions, score: float) -> Table:
    """Objects by their own size; false positives by the size of the box."""
    areas = np.array([a["area"] for a in outcomes.objects])
    boxes = (found.boxes[:, 2] - found.boxes[:, 0]) * (found.boxes[:, 3] - found.boxes[:, 1])
    correct = outcomes.kind == CORRECT
    boxes[correct] = areas[outcomes.nearest[correct]]
    kept, rows = found.scores >= score, []
    for number, (name, (low, high)) in enumerate(SIZES.items(), start=1):
        own = (areas >= low) & (areas < high)
        row = {"size": name, "objects": int(own.sum()), **_average_precisions(precision, slice(None), number)}
        missed = int((outcomes.found_with[own] < score).sum())
        rows.append({**row, **_counts(outcomes.kind[kept & (boxes >= low) & (boxes < high)], missed)})
    return rows


def _average_precisions(precision: Floats, label: int | slice, size: int) -> dict[str, float | None]:
    """AP and AP50 of a class or of all of them; None without objects.

    Args:
        precision: `(10 IoU thresholds, 101 recalls, classes, 4 sizes, 3 numbers of boxes)`; -1 where a class has no
            object of that size.
        label: of the class, or all of them.
        size: 0 for all, then small, medium, large.
    """
    curves = precision[:, :, label, size, -1]
    own, at_half = curves[curves > -1], curves[0][curves[0] > -1]
    return {name: float(c.mean()) if c.size else None for name, c in (("ap", own), ("ap50", at_half))}


def _confusions(run: Any, names: list[str], score: float) -> Table:
    """Pairs of different classes by how often the first is taken for the second, the most frequent first."""
    matrix = run.confusion_matrix(iou_thr=FOUND_AT, min_score=score)["matrix"][:-1, :-1]
    pairs = [(int(matrix[i, j]), i, j) for i, j in np.argwhere(matrix) if i != j]
    return [
        {"class": names[i], "taken_for": names[j], "count": count}
        for count, i, j in sorted(pairs, key=lambda pair: -pair[0])
    ]


def _calibration(result: dict[str, Any]) -> dict[str, Any]:
    """How far scores are from the share of boxes that are correct (expected calibration error), and its bins."""
    bins = [
        {"low": b["bin_lower"], "high": b["bin_upper"], "boxes": b["count"], "score": b["avg_confidence"],
         "correct": b["avg_accuracy"]}
        for b in result["bins"]
    ]  # fmt: skip
    return {"error": result["ece"], "largest_error": result["mce"], "bins": bins}


def _doubtful_labels(truth: dict[str, Any], errors: list[dict[str, Any]]) -> Table:
    """Where labels may be missing or wrong: confident boxes that lie on no label, or on one of another class."""
    files = {image["id"]: image["file_name"] for image in truth["images"]}
    return [
        {"file": files[e["image_id"]], "doubt": e["type"].replace("_", " "), "found": e["dt_category"],
         "score": e["dt_score"], "labelled": e["gt_category"], "iou": e["iou"]}
        for e in sorted(errors, key=lambda e: -e["dt_score"])
    ]  # fmt: skip


def explain_detections(truth: dict[str, Any], found: Predictions, diagnostics: dict[str, Any]) -> Outcomes:
    """Say of each detection whether it is correct, and of which type its error is if not.

    hotcoco says which detection found which object; here the others get their type by TIDE's rules. A test compares
    the counts with hotcoco's own and with tidecv's.

    Args:
        truth: COCO ground truth with category id = label + 1.
        found: detections of the same images.
        diagnostics: hotcoco's `image_diagnostics` of them at an IoU of `FOUND_AT`.
    """
    objects = tuple(a for a in truth["annotations"] if not a["iscrowd"])
    row_of = {annotation["id"]: row for row, annotation in enumerate(objects)}
    # What hotcoco does not list is ignored. An empty text marks a false positive until its type is known.
    kind = np.full(len(found.scores), IGNORED, dtype="<U16")
    nearest, found_with = np.full(len(kind), -1), np.full(len(objects), -1.0)
    for number, status in diagnostics["dt_status"].items():  # hotcoco counts detections from 1
        kind[number - 1] = CORRECT if status == "tp" else ""
        if status == "tp":
            row = row_of[diagnostics["dt_match"][number]]
            nearest[number - 1], found_with[row] = row, found.scores[number - 1]
    labels = np.array([a["category_id"] - 1 for a in objects], np.int64)
    images = np.array([a["image_id"] for a in objects], np.int64)
    for image in np.unique(images):
        wrong = np.flatnonzero((found.image_ids == image) & (kind == ""))
        if len(wrong):
            rows = np.flatnonzero(images == image)
            overlap = _overlap(found.boxes[wrong], [objects[row]["bbox"] for row in rows])
            same = found.labels[wrong][:, None] == labels[rows][None]
            kind[wrong], columns = _error_types(overlap, same, found_with[rows] >= 0)
            nearest[wrong] = np.where(columns < 0, -1, rows[columns])
    kind[kind == ""] = BACKGROUND  # in images without objects
    return Outcomes(kind, nearest, found_with, objects)


def _overlap(boxes: Floats, objects: list[list[float]]) -> Floats:
    """IoU of `(n, 4)` xyxy boxes with m objects given as xywh: `(n, m)`."""
    from hotcoco.mask import bbox_iou

    xywh = np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    overlap: Floats = bbox_iou(xywh, np.array(objects), [False] * len(objects))
    return overlap


def _error_types(
    overlap: Floats, same: npt.NDArray[np.bool_], taken: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int64]]:
    """Types of the n false positives of an image, and the column of the object that explains each, -1 for none.

    Args:
        overlap: `(n, m)` IoU of the false positives with the objects.
        same: `(n, m)` whether detection and object have the same class.
        taken: `(m,)` whether the object was found by another detection.
    """
    # For each rule the objects that it looks at, and of those the one with the highest overlap.
    candidates = (overlap * same, overlap * ~same, overlap * (same & taken[None]), overlap)
    peak, column = (np.stack([getattr(o, f)(1) for o in candidates]) for f in ("max", "argmax"))
    # TIDE's rules in TIDE's order, the first that holds decides:
    rules = [
        (peak[0] >= BACKGROUND_AT) & (peak[0] <= FOUND_AT),  # localisation: right class, overlaps too little
        peak[1] >= FOUND_AT,  # classification: another class, overlaps enough
        peak[2] >= FOUND_AT,  # duplicate: right class, overlaps enough, but the object was found already
        peak[3] <= BACKGROUND_AT,  # background: overlaps nothing
    ]
    # What is left is both: another class, and overlaps too little.
    kinds = np.select(rules, ["localisation", "classification", "duplicate", BACKGROUND], "both")
    columns = np.select(rules, [column[0], column[1], column[2], np.full(len(overlap), -1)], column[3])
    return kinds, columns
