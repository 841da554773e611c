from __future__ import annotations

import numpy as np

from nasdet.search.freeze_thaw.observations import Observations, bounded, with_failures


def seen(who: list[int], epochs: list[int], values: list[float]) -> Observations:
    return Observations(np.array(who), np.array(epochs, dtype=float), np.array(values))


def test_a_failure_counts_as_the_worst_where_it_failed() -> None:
    found = with_failures(seen([0, 0], [1, 3], [-0.1, -0.4]), np.array([1, 2]), np.array([0, 3]))
    assert found.who.tolist() == [0, 0, 1, 2] and found.epochs.tolist() == [1, 3, 1, 3]
    assert found.values.tolist() == [-0.1, -0.4, -0.1, -0.1]


def test_history_is_bounded_and_keeps_the_ends_of_curves() -> None:
    who = [i for i in range(200) for _ in range(3 if i < 20 else 1)]
    epochs = [3**j for i in range(200) for j in range(3 if i < 20 else 1)]
    kept = bounded(seen(who, epochs, [0.1] * len(who)), 100)
    assert len(kept) == 100
    assert sum(kept.epochs == 9) == 20 and 199 in kept.who


def test_a_long_history_of_full_trainings_still_shows_how_candidates_begin() -> None:
    who = [i for i in range(400) for _ in range(2)] + list(range(400, 500))
    epochs = [e for _ in range(400) for e in (1, 9)] + [1] * 100
    kept = bounded(seen(who, epochs, [0.1] * len(who)), 90)
    assert len(kept) == 90 and sum(kept.epochs == 1) == 30 and kept.who[-1] == 499
    assert kept.who.tolist() == sorted(kept.who)
