"""Detectors: `build_detector(spec)` and what can be measured on a specification."""

from nasdet.models.assigner import Targets
from nasdet.models.costs import Costs, count_costs
from nasdet.models.detector import Detections, Detector, build_detector
from nasdet.models.fold import fold_norms
from nasdet.models.heads import Raw
from nasdet.models.latency import Latency, measure_latency

__all__ = [
    "Costs",
    "Detections",
    "Detector",
    "Latency",
    "Raw",
    "Targets",
    "build_detector",
    "count_costs",
    "fold_norms",
    "measure_latency",
]
