"""Latency is a repeatable ratio that orders networks by their work."""

from __future__ import annotations

import statistics

import torch

from nasdet.models import measure_latency
from nasdet.models.latency import reference_network, time_against_reference
from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.specs import DetectorSpec


def _spec(width: int) -> DetectorSpec:
    return DetectorSpec(backbone=StagedSpec(stages=(StageSpec(width=width, stride=1), StageSpec(width=2 * width))))


def test_orders_by_work_and_repeats() -> None:
    before = torch.get_num_threads()
    ratios = sorted(measure_latency(_spec(16), threads=1, pairs=(8, 16)).ratio for _ in range(4))
    large = measure_latency(_spec(192), threads=1, pairs=(8, 16))
    assert large.ratio > 1.2 * statistics.median(ratios) > 0
    assert ratios[2] / ratios[1] < 1.2  # the middle two of four: under 1.02 on a quiet machine
    assert torch.get_num_threads() == before


def test_stored_reference_scales_the_result() -> None:
    found = measure_latency(_spec(16), threads=1, reference_ms=100.0, pairs=(3, 3))
    assert found.reference_ms == 100.0 and found.pairs == 3
    assert abs(found.ms - 100 * found.ratio) < 1e-9


def test_the_reference_takes_as_long_as_itself() -> None:
    network, image = reference_network(), torch.zeros(1, 16, 64, 64).contiguous(memory_format=torch.channels_last)
    assert 0.75 < time_against_reference(lambda: network(image), pairs=(8, 16)).ratio < 1.33
