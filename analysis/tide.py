"""What a detector gets wrong and what that costs: TIDE's error types (Bolya et al. 2020) with tables of where.

One decision: costs come from hotcoco and are TIDE's, at IoU 0.5 over all detections, whatever their score; the tables
count at the working score, the one of best F1, because a person who uses the detector sees only boxes above it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from nasdet.errors import InputError
from nasdet.evaluation import Predictions

FOUND_AT, BACKGROUND_AT = 0.5, 0.1
"""IoU from which a box has found an object, and up to which it lies on background."""
CORRECT, IGNORED = "correct", "ignored"
FALSE = ("classification", "localisation", "both", "duplicate", "background")
"""The types of false positives, in TIDE's order."""
MISSED = "missed"
TYPES = (*FALSE, MISSED)
SHORT = dict(zip(TYPES, ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), strict=True))
"""Type -> name in TIDE's papers and tools."""
SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, float("inf"))}
"""COCO's sizes by area in pixels of the original image."""
CONFIDENCES = tuple(round(0.05 * step, 2) for step in range(1, 20))
HUNDREDTHS = [step / 100 for step in range(101)]
"""Recalls at which TIDE reads a curve. COCO's differ from them by a rounding error, which moves a recall such as 0.35,
reached by 7 of 20 objects, by a whole hundredth."""
Table = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """Columns over the N detections and the M objects (crowds left out) of a split, M in the order of the truth.

    An outcome does not change when detections of lower scores are left out.
    """

    kind: npt.NDArray[np.str_]
    """`(N,)`: correct, one of `FALSE`, or ignored (in a crowd, or beyond the 100 best of an image)."""
    nearest: npt.NDArray[np.int64]
    """`(N,)` row of the object that the outcome speaks of; -1 if of none."""
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
    run, tide = _evaluated(truth, found), _evaluated(truth, found, HUNDREDTHS)
    diagnostics = run.image_diagnostics(iou_thr=FOUND_AT)
    outcomes = judge(truth, found, diagnostics)
    confidence = _confidence(outcomes, found, len(truth["images"]))
    score = working_score(outcomes, found)
    names = [category["name"] for category in truth["categories"]]
    costs = tide.tide_errors(pos_thr=FOUND_AT, bg_thr=BACKGROUND_AT)
    report = {
        "images": len(truth["images"]),
        "objects": len(outcomes.objects),
        "detections": len(found.scores),
        **_precisions(run, slice(None), 0),
        "working_score": score,
        "tide_ap50": costs["ap_base"],
        "types": _types(costs, outcomes, found, score),
        "confidence": confidence,
        "classes": _classes(run, outcomes, found, score, names),
        "sizes": _sizes(run, outcomes, found, score),
        "confusions": _confusions(run, names, score),
        "calibration": _calibration(run),
        "labels_to_check": _doubtful_labels(truth, diagnostics["label_errors"]),
    }
    return report, outcomes


def working_score(outcomes: Outcomes, found: Predictions) -> float:
    """The score from which on detections have the best F1 over all classes, IoU 0.5; 0 if none is right."""
    counted = outcomes.kind != IGNORED
    scores, right = found.scores[counted], (outcomes.kind == CORRECT)[counted]
    if not right.any():
        return 0.0
    order = np.argsort(-scores, kind="stable")
    f1 = 2 * np.cumsum(right[order]) / (np.arange(1, len(order) + 1) + len(outcomes.objects))
    return float(scores[order][int(f1.argmax())])


def _evaluated(truth: dict[str, Any], found: Predictions, recalls: list[float] | None = None) -> Any:
    """hotcoco's evaluation, at COCO's recalls or others."""
    from hotcoco import COCO, COCOeval

    ground = COCO(truth)
    run = COCOeval(ground, ground.load_res(np.ascontiguousarray(found.to_coco_array())), "bbox")
    if recalls is not None:
        params = run.params
        params.rec_thrs = recalls
        run.params = params
    run.evaluate()
    run.accumulate()
    return run


def _types(tide: dict[str, Any], outcomes: Outcomes, found: Predictions, score: float) -> Table:
    """One row per type, the dearest first."""
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
    """AP50 without the objects that nothing came near, less AP50. A class of which nothing is left is then left out of
    the mean, as in TIDE; hotcoco keeps it as 0."""
    spoken_of = np.isin(outcomes.kind, ("localisation", "classification"))
    labels = np.array([a["category_id"] - 1 for a in outcomes.objects])
    near = set(labels[(outcomes.found_with >= 0)]) | set(labels[outcomes.nearest[spoken_of]])
    classes = set(labels)
    left = near | (classes & set(found.labels[outcomes.kind != IGNORED]))
    base, gained = float(tide["ap_base"]), float(tide["delta_ap"][SHORT[MISSED]])
    return (base + gained) * len(classes) / len(left) - base if left else 0.0


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


def _classes(run: Any, outcomes: Outcomes, found: Predictions, score: float, names: list[str]) -> Table:
    labels = np.array([a["category_id"] - 1 for a in outcomes.objects])
    kept = found.scores >= score
    errors = run.calibration(iou_threshold=FOUND_AT)["per_category"]
    rows = []
    for label, name in enumerate(names):
        missed = int((outcomes.found_with[labels == label] < score).sum())
        rows.append(
            {
                "class": name,
                "objects": int((labels == label).sum()),
                **_precisions(run, label, 0),
                **_counts(outcomes.kind[kept & (found.labels == label)], missed),
                "calibration_error": errors.get(name),
            }
        )
    return rows


def _sizes(run: Any, outcomes: Outcomes, found: Predictions, score: float) -> Table:
    """Objects by their own size; false positives by the size of the box."""
    areas = np.array([a["area"] for a in outcomes.objects])
    boxes = (found.boxes[:, 2] - found.boxes[:, 0]) * (found.boxes[:, 3] - found.boxes[:, 1])
    correct = outcomes.kind == CORRECT
    boxes[correct] = areas[outcomes.nearest[correct]]
    kept, rows = found.scores >= score, []
    for number, (name, (low, high)) in enumerate(SIZES.items(), start=1):
        own = (areas >= low) & (areas < high)
        row = {"size": name, "objects": int(own.sum()), **_precisions(run, slice(None), number)}
        missed = int((outcomes.found_with[own] < score).sum())
        rows.append({**row, **_counts(outcomes.kind[kept & (boxes >= low) & (boxes < high)], missed)})
    return rows


def _precisions(run: Any, label: int | slice, area: int) -> dict[str, float | None]:
    """AP and AP50 of a class or all of them; None without objects."""
    curves = run.eval["precision"][:, :, label, area, -1]
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


def _calibration(run: Any) -> dict[str, Any]:
    """How far scores are from the share of boxes that are right (expected calibration error), and its bins."""
    result = run.calibration(iou_threshold=FOUND_AT)
    bins = [
        {"low": b["bin_lower"], "high": b["bin_upper"], "boxes": b["count"], "score": b["avg_confidence"],
         "correct": b["avg_accuracy"]}
        for b in result["bins"]
    ]  # fmt: skip
    return {"error": result["ece"], "largest_error": result["mce"], "bins": bins}


def _doubtful_labels(truth: dict[str, Any], errors: list[dict[str, Any]]) -> Table:
    """What the labels may lack or have wrong: confident boxes on objects without a label or of another class."""
    files = {image["id"]: image["file_name"] for image in truth["images"]}
    return [
        {"file": files[e["image_id"]], "doubt": e["type"].replace("_", " "), "found": e["dt_category"],
         "score": e["dt_score"], "labelled": e["gt_category"], "iou": e["iou"]}
        for e in sorted(errors, key=lambda e: -e["dt_score"])
    ]  # fmt: skip


def judge(truth: dict[str, Any], found: Predictions, diagnostics: dict[str, Any]) -> Outcomes:
    """Say what each detection is.

    Args:
        truth: COCO ground truth with category id = label + 1.
        found: detections of the same images.
        diagnostics: hotcoco's `image_diagnostics` of them at an IoU of `FOUND_AT`.
    """
    objects = tuple(a for a in truth["annotations"] if not a["iscrowd"])
    row_of = {annotation["id"]: row for row, annotation in enumerate(objects)}
    kind = np.full(len(found.scores), IGNORED, dtype="<U16")
    nearest, found_with = np.full(len(kind), -1), np.full(len(objects), -1.0)
    for number, status in diagnostics["dt_status"].items():  # hotcoco counts detections from 1
        kind[number - 1] = CORRECT if status == "tp" else ""
        if status == "tp":
            row = row_of[diagnostics["dt_match"][number]]
            nearest[number - 1], found_with[row] = row, found.scores[number - 1]
    labels = np.array([a["category_id"] - 1 for a in objects], np.int64)
    for image, rows in _rows_of_images(objects).items():
        wrong = np.flatnonzero((found.image_ids == image) & (kind == ""))
        if len(wrong):
            overlap = _overlap(found.boxes[wrong], [objects[row]["bbox"] for row in rows])
            same = found.labels[wrong][:, None] == labels[rows][None]
            kinds, columns = _explain(overlap, same, found_with[rows] >= 0)
            kind[wrong], nearest[wrong] = kinds, np.where(columns < 0, -1, np.array(rows)[columns])
    kind[kind == ""] = "background"  # in images without objects
    return Outcomes(kind, nearest, found_with, objects)


def _rows_of_images(objects: tuple[dict[str, Any], ...]) -> dict[int, list[int]]:
    rows: dict[int, list[int]] = {}
    for row, annotation in enumerate(objects):
        rows.setdefault(annotation["image_id"], []).append(row)
    return rows


def _overlap(boxes: npt.NDArray[np.float64], objects: list[list[float]]) -> npt.NDArray[np.float64]:
    """IoU of `(n, 4)` xyxy boxes with m objects given as xywh: `(n, m)`."""
    from hotcoco.mask import bbox_iou

    xywh = np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    overlap: npt.NDArray[np.float64] = bbox_iou(xywh, np.array(objects), [False] * len(objects))
    return overlap


def _explain(
    overlap: npt.NDArray[np.float64], same: npt.NDArray[np.bool_], taken: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int64]]:
    """Types of n false positives and the column of the object each speaks of, from `(n, m)` IoU, equality of classes,
    and which of the m objects were found."""
    by_rule = (overlap * same, overlap * ~same, overlap * (same & taken[None]), overlap)
    peak, column = (np.stack([getattr(o, f)(1) for o in by_rule]) for f in ("max", "argmax"))
    rules = [
        (peak[0] >= BACKGROUND_AT) & (peak[0] <= FOUND_AT),
        peak[1] >= FOUND_AT,
        peak[2] >= FOUND_AT,
        peak[3] <= BACKGROUND_AT,
    ]
    kinds = np.select(rules, ["localisation", "classification", "duplicate", "background"], "both")
    columns = np.select(rules, [column[0], column[1], column[2], np.full(len(overlap), -1)], column[3])
    return kinds, columns
