from __future__ import annotations

import numpy as np

from nasdet.search.observations import bounded, is_static, observe, with_failures
from nasdet.space import Objective
from nasdet.space.trial import Rung, TrialRecord

AP = Objective("ap", "max")


def curve(number: int, values: list[float], *, told: int, state: str = "paused", size: float = 1.0) -> TrialRecord:
    rungs = tuple(Rung(3**j, {"ap": v, "size": size}, told=told + j) for j, v in enumerate(values))
    last = rungs[-1] if rungs else Rung(0, {})
    return TrialRecord(f"t{number}", number, state, {}, values=last.values, epochs=last.epochs, rungs=rungs)  # type: ignore[arg-type]


def test_order_is_that_of_telling_and_signs_are_costs() -> None:
    seen = observe([curve(0, [0.1, 0.4], told=3), curve(1, [0.2], told=0)], AP)
    assert seen.who.tolist() == [1, 0, 0] and seen.epochs.tolist() == [1, 1, 3]
    assert seen.values.tolist() == [-0.2, -0.1, -0.4]


def test_a_failure_counts_as_the_worst_where_it_failed() -> None:
    failed = curve(2, [], told=0, state="failed")
    records = [curve(0, [0.1, 0.4], told=0), failed]
    seen = with_failures(observe(records, AP), records)
    assert seen.who.tolist() == [0, 0, 1] and seen.values[-1] == -0.1 and seen.epochs[-1] == 1


def test_values_that_are_no_numbers_are_left_out() -> None:
    assert len(observe([curve(0, [np.nan, 0.4], told=0)], AP)) == 1


def test_history_is_bounded_and_keeps_the_ends_of_curves() -> None:
    records = [curve(i, [0.1, 0.2, 0.3] if i < 20 else [0.1], told=3 * i) for i in range(200)]
    seen = bounded(observe(records, AP), 100)
    assert len(seen) == 100
    assert sum(seen.epochs == 9) == 20 and 199 in seen.who


def test_static_is_what_never_changes_with_the_budget() -> None:
    records = [curve(i, [0.1, 0.2], told=2 * i, size=float(i)) for i in range(3)]
    assert is_static(records, "size") and not is_static(records, "ap")
    assert not is_static(records[:2], "size")
    dead = [curve(i, [0.0, 0.0], told=2 * i) for i in range(5)]
    assert not is_static(dead, "ap")
