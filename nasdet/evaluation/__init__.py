"""How good a detector is: COCO metrics of boxes and masks, and how sure that is."""

from nasdet.evaluation.coco import MASK, METRICS, MOST_BOXES, Predictions, coco_metrics, mask_truth
from nasdet.evaluation.masks import Code, paste, unpack
from nasdet.evaluation.resample import intervals, read_resamples, resample, write_resamples

__all__ = [
    "MASK",
    "METRICS",
    "MOST_BOXES",
    "Code",
    "Predictions",
    "coco_metrics",
    "intervals",
    "mask_truth",
    "paste",
    "read_resamples",
    "resample",
    "unpack",
    "write_resamples",
]
