from __future__ import annotations

import numpy as np

from nasdet.search.schedulers.halving import order_by_hypervolume, paused_at, rank_rung
from nasdet.space import Objective
from nasdet.trial import Rung, TrialRecord

OBJECTIVES = (Objective("ap", "max"), Objective("params_m", "min"))


def paused(number: int, ap: float, size: float, epochs: int = 1) -> TrialRecord:
    rungs = tuple(Rung(e, {"ap": ap, "params_m": size}) for e in (1, 3) if e <= epochs)
    return TrialRecord(f"t{number}", number, "paused", {}, values=rungs[-1].values, epochs=epochs, rungs=rungs)


def best_third(records: list[TrialRecord], epochs: int = 1) -> list[str]:
    return [r.trial for r in paused_at(records, OBJECTIVES, epochs, [0.0, 10.0], one_in=3)]


def test_orders_whole_fronts() -> None:
    costs = np.array([[-0.9, 5.0], [-0.5, 1.0], [-0.4, 5.0], [-0.3, 2.0]])
    order = order_by_hypervolume(costs, np.array([0.0, 10.0]))
    assert set(order[:2]) == {0, 1}


def test_a_rung_is_ranked_by_its_own_values() -> None:
    fallen, risen = paused(0, 0.1, 2.0, epochs=3), paused(1, 0.5, 2.0, epochs=3)
    fallen = fallen.replace(rungs=(Rung(1, {"ap": 0.9, "params_m": 2.0}), fallen.rungs[1]))
    assert [r.trial for r in rank_rung([fallen, risen], OBJECTIVES, 1, [0.0, 10.0])] == ["t0", "t1"]
    assert [r.trial for r in rank_rung([fallen, risen], OBJECTIVES, 3, [0.0, 10.0])] == ["t1", "t0"]


def test_smallest_without_accuracy_is_put_off() -> None:
    records = [paused(0, 0.6, 3.0), paused(1, 0.55, 3.5), paused(2, 0.0001, 0.1), paused(3, 0.3, 1.0)]
    order = [r.trial for r in rank_rung(records, OBJECTIVES, 1, [0.0, 10.0])]
    assert order.index("t2") > order.index("t1")


def test_promotes_the_top_third_once_three_are_known() -> None:
    records = [paused(0, 0.2, 2.0), paused(1, 0.6, 2.0)]
    assert best_third(records) == []
    assert best_third([*records, paused(2, 0.4, 2.0)]) == ["t1"]


def test_nothing_is_promoted_twice() -> None:
    higher = [paused(i, 0.5 + i / 10, 2.0, epochs=3) for i in range(3)]
    lower = [paused(10 + i, 0.1, 2.0) for i in range(6)]
    assert best_third([*higher, *lower], epochs=3) == ["t2"]
    assert best_third([*higher[:2], higher[2].replace(state="complete")], epochs=3) == []
    assert "t2" not in best_third([*higher, *lower], epochs=1)


def test_failed_trials_do_not_count() -> None:
    records = [paused(0, 0.2, 2.0), paused(1, 0.6, 2.0), paused(2, 0.9, 1.0).replace(state="failed")]
    assert best_third(records) == []
