"""What became of every detection and every labelled object: TIDE's types, one by one (Bolya et al. 2020).

One decision: hotcoco says which detection found which object, and here it is only told why the others did not, by
TIDE's rules in TIDE's order; a test holds the counts against hotcoco's own and against tidecv's.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

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
