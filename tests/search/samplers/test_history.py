from __future__ import annotations

import itertools
import random

import pytest

from nasdet.pareto import front
from nasdet.search.samplers.history import fidelity, history
from nasdet.space import Objective
from nasdet.trial import Rung, TrialRecord

OBJECTIVES = (Objective("ap", "max"), Objective("size", "min"))


def observed(count: int, seed: int = 0) -> list[TrialRecord]:
    rng = random.Random(seed)
    records = []
    for number in range(count):
        values = {"ap": rng.random(), "size": rng.random()}
        records.append(TrialRecord(f"t{number}", number, "complete", {}, values=values, rungs=(Rung(1, values),)))
    return records


def test_learns_from_the_highest_rung_with_enough_observations() -> None:
    assert fidelity({1: 30, 3: 8, 9: 7}) == 3
    assert fidelity({1: 5, 3: 2}) == 1
    assert fidelity({}) == 0
    records = observed(20)
    low = [r.replace(state="paused", rungs=(Rung(1, r.values),)) for r in records[8:]]
    high = [r.replace(rungs=(Rung(1, r.values), Rung(3, {"ap": 2.0, "size": 0.0}))) for r in records[:8]]
    seen = history([*high, *low], OBJECTIVES, random.Random(0), 200, 32)
    assert [values["ap"] for _, values in seen.observed] == [2.0] * 8


@pytest.mark.parametrize(("most", "best"), [(40, 20), (400, 32)])
def test_a_bounded_history_holds_best_newest_and_others(most: int, best: int) -> None:
    records = observed(1000)
    kept = [r for r, _ in history(records, OBJECTIVES, random.Random(0), most, best).observed]
    assert len(kept) == most and kept == sorted(kept, key=lambda r: r.number)
    on_front = front(records, OBJECTIVES)
    assert len(on_front) <= best and {r.trial for r in on_front} <= {r.trial for r in kept}
    assert {r.trial for r in records[-(most // 4) :]} <= {r.trial for r in kept}
    again = [r for r, _ in history(records, OBJECTIVES, random.Random(0), most, best).observed]
    other = [r for r, _ in history(records, OBJECTIVES, random.Random(1), most, best).observed]
    assert again == kept != other


def test_of_a_large_front_evenly_spread_members_are_kept() -> None:
    line = [
        TrialRecord(f"t{i}", i, "complete", {}, rungs=(Rung(1, {"ap": i / 1000, "size": i / 1000}),))
        for i in range(1000)
    ]
    seen = history(line, OBJECTIVES, random.Random(0), 40, 20).observed
    sizes = [values["size"] for _, values in seen]
    assert min(sizes) == 0 and max(sizes) == 0.999
    assert max(b - a for a, b in itertools.pairwise(sizes)) < 0.06


def test_one_objective_keeps_the_best() -> None:
    kept = {r.trial for r, _ in history(observed(1000), OBJECTIVES[:1], random.Random(0), 40, 20).observed}
    best = sorted(observed(1000), key=lambda r: -r.values["ap"])[:20]
    assert {r.trial for r in best} <= kept


def test_a_short_history_is_seen_whole() -> None:
    assert len(history(observed(500), OBJECTIVES, random.Random(0), 500, 32).observed) == 500


def test_all_running_trials_are_seen_and_a_bounded_number_of_broken_ones() -> None:
    records = observed(500)
    records += [TrialRecord(f"i{n}", n, "infeasible", {}) for n in range(500, 700)]
    records += [TrialRecord(f"r{n}", n, "running", {}) for n in range(700, 764)]
    records[3] = records[3].replace(state="running")  # promoted: under way to its next rung
    records += [TrialRecord(f"d{n}", n, "duplicate", {}) for n in range(764, 767)]
    seen = history(records, OBJECTIVES, random.Random(0), 40, 20)
    shown = {r.trial for r in seen.running} | {r.trial for r, _ in seen.observed}
    assert {"t3", *(f"r{n}" for n in range(700, 764))} <= shown
    assert [r.trial for r in seen.broken] == [f"i{n}" for n in range(690, 700)]
    assert seen.duplicates == 3


def test_apart_from_the_best_the_kept_observations_are_representative() -> None:
    """Otherwise TPE would model the second best as the bad ones."""
    records = sorted(observed(4000), key=lambda r: random.Random(r.number).random())
    objective = OBJECTIVES[:1]
    kept = [v["ap"] for _, v in history(records, objective, random.Random(0), 400, 32).observed]
    rest = sorted(kept, reverse=True)[32:]
    assert 0.45 < sum(rest) / len(rest) < 0.55
