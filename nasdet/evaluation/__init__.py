"""How good a detector is: COCO metrics of boxes and masks, and how sure that is."""

from nasdet.evaluation.bootstrap import intervals, read_resamples, resample, write_resamples
from nasdet.evaluation.coco_metrics import CLASS, MASK, METRICS, Predictions, coco_metrics, mask_truth
from nasdet.evaluation.mask_encoding import Code, paste, unpack
from nasdet.evaluation.matching import MOST_BOXES, match

__all__ = [
    "CLASS",
    "MASK",
    "METRICS",
    "MOST_BOXES",
    "Code",
    "Predictions",
    "coco_metrics",
    "intervals",
    "mask_truth",
    "match",
    "paste",
    "read_resamples",
    "resample",
    "unpack",
    "write_resamples",
]
