from __future__ import annotations

import pytest
import torch

from nasdet.driver.training import thread_count as module
from nasdet.driver.training.thread_count import thread_count
from tests.trainers.conftest import tiny_spec


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        ({1: 100.0, 2: 115.0}, 1),  # a quiet machine of two cores
        ({1: 100.0, 2: 10.0}, 1),  # another program takes a core
        ({1: 100.0, 2: 190.0}, 2),
        ({1: 100.0, 2: 180.0, 4: 300.0, 8: 310.0}, 4),
        ({1: 100.0, 3: 250.0, 6: 400.0}, 6),
    ],
)
def test_fewest_threads_that_train_nearly_as_fast_as_the_fastest(
    monkeypatch: pytest.MonkeyPatch, speeds: dict[int, float], expected: int
) -> None:
    seen = {}

    def measured(spec: object, gflops: float, device: str, *, typical: object) -> float:
        threads = torch.get_num_threads()
        seen[threads] = device
        return speeds[threads]

    monkeypatch.setattr(module, "images_per_second", measured)
    before = torch.get_num_threads()
    assert thread_count(tiny_spec(), max(speeds)) == expected
    assert seen == dict.fromkeys(speeds, "cpu")
    assert torch.get_num_threads() == before


def test_one_core_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(module, "images_per_second")
    assert thread_count(tiny_spec(), 1) == 1
