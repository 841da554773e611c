from __future__ import annotations

import numpy as np
import pytest

from nasdet.pareto import hypervolume
from nasdet.search.freeze_thaw.hypervolume_improvement import MAX_POINTS, decompose, expected_improvement


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("known", [0, 1, 2])
def test_equals_monte_carlo(size: int, known: int) -> None:
    rng = np.random.default_rng(10 * size + known)
    front, corner = rng.random((7, size)), np.full(size, 1.1)
    mean, deviation = rng.random((2, size)) * 0.8, np.full((2, size), 0.3)
    deviation[:, max(1, size - known) :] = 0.0
    boxes, samples = decompose(front, corner), 20_000
    exact = expected_improvement(boxes, mean, deviation)
    for i in range(2):
        drawn = mean[i] + deviation[i] * rng.standard_normal((samples, size))
        gains = expected_improvement(boxes, drawn, np.zeros_like(drawn))  # exact, as the next test shows
        assert exact[i] == pytest.approx(np.mean(gains), abs=4 * np.std(gains) / samples**0.5 + 1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_without_uncertainty_it_is_the_gain_in_hypervolume(size: int) -> None:
    rng = np.random.default_rng(size)
    front = rng.random((20 if size < 4 else MAX_POINTS[4], size))  # more would be thinned
    corner, points = np.ones(size), rng.random((30, size)) * 1.2
    exact = expected_improvement(decompose(front, corner), points, np.zeros_like(points))
    gains = [hypervolume(np.vstack([front, p]), corner) - hypervolume(front, corner) for p in points]
    assert exact == pytest.approx(np.array(gains), abs=1e-12)


def test_without_a_front_all_of_the_box_below_the_reference_counts() -> None:
    boxes = decompose(np.zeros((0, 2)), np.array([1.0, 2.0]))
    assert expected_improvement(boxes, np.array([[0.5, 0.5]]), np.zeros((1, 2))) == pytest.approx(0.75)


def test_a_large_front_is_thinned_and_overestimates_little() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((200, 3))
    front = 1 - points / np.linalg.norm(points, axis=1)[:, None]
    corner = np.full(3, 1.1)
    boxes = decompose(front, corner)
    assert len(boxes.low) <= (MAX_POINTS[3] + 1) ** 2
    inside = np.full((1, 3), 0.3)
    gain = hypervolume(np.vstack([front, inside]), corner) - hypervolume(front, corner)
    assert gain <= expected_improvement(boxes, inside, np.zeros((1, 3)))[0] <= 1.5 * gain + 0.02
