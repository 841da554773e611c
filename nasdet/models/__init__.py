"""Detectors: `build_detector(spec)` and what can be measured on a specification."""

from nasdet.models.costs import Costs, count_costs
from nasdet.models.detector import CANDIDATES, LEAST_SCORE, LIMIT, Detector, build_detector, suppress
from nasdet.models.fold_batch_norm import fold_norms
from nasdet.models.heads import Candidates, Detections, Targets
from nasdet.models.latency import Latency, Quiet, measure_latency, time_against_reference

__all__ = [
    "CANDIDATES",
    "LEAST_SCORE",
    "LIMIT",
    "Candidates",
    "Costs",
    "Detections",
    "Detector",
    "Latency",
    "Quiet",
    "Targets",
    "build_detector",
    "count_costs",
    "fold_norms",
    "measure_latency",
    "suppress",
    "time_against_reference",
]
