"""How good a detector is: COCO metrics of boxes and masks."""

from nasdet.evaluation.coco import MASK, METRICS, MOST_BOXES, Predictions, coco_metrics, mask_truth
from nasdet.evaluation.masks import Code, paste, unpack

__all__ = ["MASK", "METRICS", "MOST_BOXES", "Code", "Predictions", "coco_metrics", "mask_truth", "paste", "unpack"]
