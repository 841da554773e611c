"""COCO metrics of a split. One decision: hotcoco computes, pycocotools is the reference it is tested against
(equal to 1e-9), and boxes are judged in the pixels of the original image, not of the network's canvas."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

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


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Detections of a whole split as columns.

    image_ids: `(N,)` int64, the COCO ids of the split. boxes: `(N, 4)` xyxy in original pixels.
    scores: `(N,)` in 0..1. labels: `(N,)` int64 from 0, category id minus one.
    """

    image_ids: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]

    @classmethod
    def concatenate(cls, parts: list[Predictions]) -> Predictions:
        """All parts as one; no parts give no detections."""
        if not parts:
            return cls(np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
        columns = (f.name for f in dataclasses.fields(cls))
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in columns))

    def to_coco_array(self) -> npt.NDArray[np.float64]:
        """`(N, 7)`: image id, x, y, width, height, score, category id."""
        wh = self.boxes[:, 2:] - self.boxes[:, :2]
        columns = (self.image_ids, self.boxes[:, :2], wh, self.scores, self.labels + 1)
        return np.column_stack([np.asarray(c, np.float64) for c in columns])


def coco_metrics(ground_truth: dict[str, Any], predictions: Predictions) -> dict[str, float]:
    """The 12 COCO figures in 0..1, by the names of `METRICS`; -1 where the ground truth has no such box.

    Args:
        ground_truth: COCO annotation dict with category id = label + 1.
        predictions: detections of the same images.
    """
    from hotcoco import COCO, COCOeval

    if not ground_truth["annotations"]:
        return dict.fromkeys(METRICS, -1.0)
    truth = COCO(ground_truth)
    found = truth.load_res(np.ascontiguousarray(predictions.to_coco_array()))
    run = COCOeval(truth, found, "bbox")
    run.evaluate()
    run.accumulate()
    run.summary_lines()  # computes the figures, as summarize() does, without printing them
    figures = run.report()["metrics"]
    return {name: float(figures[theirs]) for name, theirs in METRICS.items()}
