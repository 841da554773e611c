"""Pareto mathematics against brute force."""

from __future__ import annotations

import itertools
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest

from nasdet.pareto import front, hypervolume, knee, non_dominated, non_dominated_rank
from nasdet.trial import TrialRecord


class Objective(NamedTuple):
    name: str
    direction: Literal["max", "min"]


def brute_front(costs: np.ndarray) -> list[bool]:
    return [not any((o <= c).all() and (o < c).any() for o in costs) for c in costs]


@pytest.mark.parametrize("dims", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_non_dominated_and_ranks_equal_brute_force(dims: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    costs = rng.integers(0, 6, (60, dims)).astype(float)  # coarse: many equal values
    assert non_dominated(costs, ["min"] * dims).tolist() == brute_front(costs)
    ranks = non_dominated_rank(costs, ["min"] * dims)
    for rank in range(ranks.max() + 1):
        left = ranks >= rank
        assert (ranks[left] == rank).tolist() == brute_front(costs[left])


def test_directions_nan_and_nothing() -> None:
    values = [[0.5, 10.0], [0.4, 12.0], [0.4, 5.0], [np.nan, 1.0]]
    assert non_dominated(values, ["max", "min"]).tolist() == [True, False, True, False]
    assert non_dominated_rank(values, ["max", "min"]).tolist() == [0, 1, 0, 2]
    assert non_dominated(np.empty((0, 2)), ["max", "min"]).shape == (0,)
    with pytest.raises(ValueError, match="2 columns"):
        non_dominated(values, ["max"])


@pytest.mark.parametrize("dims", [1, 2, 3, 4, 5])
def test_hypervolume_equals_inclusion_exclusion(dims: int) -> None:
    rng = np.random.default_rng(dims)
    points, reference = rng.random((7, dims)), np.full(dims, 0.9)
    boxes = points[(points < reference).all(axis=1)]
    exact = 0.0
    for size in range(1, len(boxes) + 1):
        for some in itertools.combinations(boxes, size):
            exact -= (-1) ** size * np.prod(reference - np.max(some, axis=0))
    assert hypervolume(points, reference) == pytest.approx(exact, abs=1e-12)


def test_hypervolume_of_nothing_below_the_reference_is_zero() -> None:
    assert hypervolume(np.empty((0, 2)), [1, 1]) == 0.0
    assert hypervolume([[1.0, 0.0], [2.0, -5.0], [np.nan, 0.0]], [1, 1]) == 0.0


def test_the_knee_gives_up_least() -> None:
    values = [[0.1, 1.0], [0.5, 2.0], [0.52, 9.0], [0.6, 10.0], [0.05, 1.5]]
    assert knee(values, ["max", "min"]) == 1
    assert knee([[0.3, 4.0]], ["max", "min"]) == 0
    with pytest.raises(ValueError, match="no knee"):
        knee([[np.nan, 1.0]], ["max", "min"])


def record(number: int, state: Any, **values: float) -> TrialRecord:
    return TrialRecord(f"t{number}", number, state, {}, values=values)


def test_only_complete_and_measured_records_stand_on_the_front() -> None:
    axes = [Objective("ap", "max"), Objective("latency_ms", "min")]
    records = [
        record(0, "complete", ap=0.3, latency_ms=3.0),
        record(1, "complete", ap=0.5, latency_ms=5.0),
        record(2, "stopped", ap=0.9, latency_ms=1.0),
        record(3, "complete", ap=0.9),
        record(4, "complete", ap=0.2, latency_ms=4.0),
        record(5, "complete", ap=0.5, latency_ms=5.0),
    ]
    assert [r.trial for r in front(records, axes)] == ["t1", "t5", "t0"]
    assert front([], axes) == []
