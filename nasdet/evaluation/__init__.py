"""How good a detector is: COCO metrics."""

from nasdet.evaluation.coco import METRICS, Predictions, coco_metrics

__all__ = ["METRICS", "Predictions", "coco_metrics"]
