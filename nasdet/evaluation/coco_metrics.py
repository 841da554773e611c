"""COCO metrics of a split.

One decision: hotcoco computes them, because it is much faster than pycocotools, to which the tests compare it (equal to
1e-9). Boxes and masks are evaluated in pixels of the original image, not of the network's canvas.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from nasdet.evaluation.mask_encoding import Code
from nasdet.evaluation.matching import MOST_BOXES, match

# nasdet's name -> hotcoco's name, in the order of pycocotools' `stats`.
METRICS: dict[str, str] = {
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_s": "APs",
    "ap_m": "APm",
    "ap_l": "APl",
    "ar1": "AR1",
    "ar10": "AR10",
    "ar100": "AR100",
    "ar_s": "ARs",
    "ar_m": "ARm",
    "ar_l": "ARl",
}
MASK = "mask_"
"""What the names of the same figures of masks begin with: `mask_ap`, `mask_ap50`, ..."""
CLASS = "class_ap/"
"""What stands before the name of a class in the name of its AP."""


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Detections of a whole split as columns."""

    image_ids: npt.NDArray[np.int64]
    """`(N,)` COCO ids of the images."""
    boxes: npt.NDArray[np.float64]
    """`(N, 4)` xyxy pixels of the original image."""
    scores: npt.NDArray[np.float64]
    """`(N,)` in 0..1."""
    labels: npt.NDArray[np.int64]
    """`(N,)` from 0: the category id minus one."""
    masks: tuple[Code, ...] | None = None
    """N codes of `paste`, in pixels of the original image; None if the detector finds boxes only."""

    @classmethod
    def concatenate(cls, parts: list[Predictions]) -> Predictions:
        """All parts together; without any part, no detections."""
        if not parts:
            return cls(np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
        ids, boxes, scores, labels = (
            np.concatenate([getattr(p, name) for p in parts]) for name in ("image_ids", "boxes", "scores", "labels")
        )
        masked = [p.masks for p in parts if p.masks is not None or len(p.scores)]  # an idle worker has none
        complete = [masks for masks in masked if masks is not None]
        masks = tuple(itertools.chain(*complete)) if complete and len(complete) == len(masked) else None
        return cls(ids, boxes, scores, labels, masks)

    def taken(self, rows: npt.NDArray[np.int64]) -> Predictions:
        """The detections at `rows`, which are indices."""
        masks = None if self.masks is None else tuple(self.masks[row] for row in rows.tolist())
        return Predictions(self.image_ids[rows], self.boxes[rows], self.scores[rows], self.labels[rows], masks)

    def to_coco_array(self) -> npt.NDArray[np.float64]:
        """`(N, 7)`: image id, x, y, width, height, score, category id."""
        wh = self.boxes[:, 2:] - self.boxes[:, :2]
        columns = (self.image_ids, self.boxes[:, :2], wh, self.scores, self.labels + 1)
        return np.ascontiguousarray(np.column_stack([np.asarray(c, np.float64) for c in columns]))

    def to_coco_masks(self) -> list[dict[str, Any]]:
        """COCO results with a `segmentation`; none without masks."""
        if self.masks is None:
            return []
        columns = (self.image_ids.tolist(), self.labels.tolist(), self.scores.tolist(), self.masks)
        return [
            {"image_id": image, "category_id": label + 1, "score": score, "segmentation": mask}
            for image, label, score, mask in zip(*columns, strict=True)
        ]


def coco_metrics(
    ground_truth: dict[str, Any], predictions: Predictions, *, most: int = MOST_BOXES, classes: bool = False
) -> dict[str, float]:
    """The 12 COCO figures of boxes in 0..1, by the names of `METRICS`; -1 where the ground truth has no such box.

    If predictions and ground truth have masks, the same figures of masks follow under names that begin with `MASK`.

    Args:
        ground_truth: COCO annotation dict with category id = label + 1.
        predictions: detections of the same images.
        most: best boxes of each image and class that count in all figures but `ar1` and `ar10`; COCO's 100, unless
            images are scenes of many more objects.
        classes: the AP of each class as well, under names that begin with `CLASS`; -1 for a class without an object.
    """
    if not ground_truth["annotations"]:
        return dict.fromkeys(METRICS, -1.0)
    figures = _figures(ground_truth, predictions.to_coco_array(), "bbox", most, classes=classes)
    if predictions.masks is not None and any("segmentation" in a for a in ground_truth["annotations"]):
        own = _figures(mask_truth(ground_truth), predictions.to_coco_masks(), "segm", most)
        figures |= {MASK + name: value for name, value in own.items()}
    return figures


def mask_truth(ground_truth: dict[str, Any]) -> dict[str, Any]:
    """Ground truth for masks: objects without a mask become regions to ignore of the extent of their boxes."""
    annotations = [a if "segmentation" in a else _ignored(a) for a in ground_truth["annotations"]]
    return {**ground_truth, "annotations": annotations}


def _ignored(annotation: dict[str, Any]) -> dict[str, Any]:
    x, y, w, h = annotation["bbox"]
    return {**annotation, "iscrowd": 1, "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]}


def _figures(
    ground_truth: dict[str, Any], results: Any, kind: str, most: int, *, classes: bool = False
) -> dict[str, float]:
    """The figures of `METRICS` of COCO results for `kind`, bbox or segm, and of each class if asked for."""
    run = match(ground_truth, results, kind, most=most)
    run.accumulate()
    run.summary_lines()  # computes the figures as summarize() does, but prints nothing
    report = run.report()
    figures = {name: float(report["metrics"][theirs]) for name, theirs in METRICS.items()}
    if classes:
        figures |= {CLASS + name: float(own["AP"]) for name, own in report["per_class"].items()}
    return figures
