from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from nasdet.trainers.latency_cache import cached_latency

from nasdet.models import Latency
from nasdet.trainers import latency_cache
from tests.trainers.conftest import tiny_spec


def test_each_condition_is_measured_once_against_one_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, float | None]] = []

    def measure(spec: Any, *, device: Any, threads: int, batch: int, reference_ms: float | None) -> Latency:
        asked.append((threads, batch, reference_ms))
        return Latency(ms=float(len(asked)), reference_ms=7.0, ratio=1.0, cv=0.0, pairs=30)

    monkeypatch.setattr(latency_cache, "measure_latency", measure)

    def latency(threads: int, batch: int, **norm: Any) -> float:
        device = torch.device("cpu")
        return cached_latency(tiny_spec(**norm), tmp_path, device=device, threads=threads, batch=batch)

    assert [latency(1, 1), latency(1, 1), latency(2, 1), latency(1, 4), latency(1, 1, kind="bn")] == [1, 1, 2, 3, 4]
    assert asked == [(1, 1, None), (2, 1, None), (1, 4, None), (1, 1, 7.0)]
