"""Latency is a repeatable ratio that orders networks by their work."""

from __future__ import annotations

import statistics

import torch

from nasdet.models import measure_latency
from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.specs import DetectorSpec


def _spec(width: int) -> DetectorSpec:
    return DetectorSpec(backbone=StagedSpec(stages=(StageSpec(width=width, stride=1), StageSpec(width=2 * width))))


def test_orders_by_work_and_repeats() -> None:
    before = torch.get_num_threads()
    ratios = sorted(measure_latency(_spec(16), threads=1, pairs=(8, 16)).ratio for _ in range(4))
    large = measure_latency(_spec(96), threads=1, pairs=(8, 16))
    assert large.ratio > 1.2 * statistics.median(ratios) > 0
    assert ratios[2] / ratios[1] < 1.2  # the middle two of four: under 1.02 on a quiet machine
    assert torch.get_num_threads() == before


def test_stored_reference_scales_the_result() -> None:
    found = measure_latency(_spec(16), threads=1, reference_ms=100.0, pairs=(3, 3))
    assert found.reference_ms == 100.0 and found.pairs == 3
    assert abs(found.ms - 100 * found.ratio) < 1e-9
