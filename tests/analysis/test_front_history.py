"""The hypervolume over finished trials and over what was spent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nasdet.analysis.front_history import compare_curves, hypervolume_curve, hypervolume_history, study_curves
from nasdet.pareto import as_costs, front, hypervolume, values_of
from nasdet.search import Engine, StudyStore, summarise
from nasdet.search.records.baseline import ready_baseline, spent_epochs
from nasdet.study_config import StudyConfig
from nasdet.trial import Rung, TrialRecord
from tests.analysis.conftest import CURVES
from tests.search.conftest import build, toy, work


def test_history_equals_the_front_of_every_prefix(records: Any, axes: Any, reference: Any) -> None:
    steps = hypervolume_history(records, axes, reference)
    directions = [a.direction for a in axes]
    for step in steps:
        members = front(records[: step.step], axes)
        costs = as_costs(values_of(members, axes), directions)
        assert step.front_size == len(members)
        assert step.hypervolume == pytest.approx(hypervolume(costs, as_costs([reference], directions)[0]))
    assert [s.step for s in steps] == list(range(1, 7))
    assert (steps[-1].epochs, steps[-1].seconds) == (4 * 12 + 2 * 3, 60.0)


def test_a_beaten_member_leaves_the_front(records: Any, axes: Any, reference: Any) -> None:
    better = records[0].replace(values={**records[0].values, "ap": 0.6, "latency_ms": 1.0, "params_m": 0.1})
    assert [s.front_size for s in hypervolume_history([*records[:2], better], axes, reference)] == [1, 2, 1]


def test_trials_that_run_are_not_steps(records: Any, axes: Any, reference: Any) -> None:
    running = [r.replace(state="running") for r in records]
    assert hypervolume_history(running, axes, reference) == []


def test_no_history_before_there_is_a_reference_point(records: Any, axes: Any) -> None:
    assert hypervolume_history(records, axes, []) == []


def trial(number: int, state: Any, rungs: list[tuple[int, float, int]], seconds: float) -> TrialRecord:
    """Rungs are (epochs, ap, told)."""
    reached = tuple(Rung(e, {"ap": ap, "latency_ms": 10.0, "params_m": 5.0}, told) for e, ap, told in rungs)
    last = reached[-1]
    return TrialRecord(
        f"t{number}", number, state, {}, {}, {}, last.values, last.epochs, reached, train_seconds=seconds
    )


def test_what_was_spent_until_a_candidate_was_complete(axes: Any, reference: Any) -> None:
    records = [
        trial(0, "complete", [(3, 0.2, 0), (9, 0.5, 3)], 90.0),
        trial(1, "stopped", [(3, 0.9, 1)], 60.0),  # never trained in full: no hypervolume, but spent
        trial(2, "complete", [(3, 0.3, 2), (9, 0.6, 4)], 180.0),
    ]
    curve = hypervolume_curve("s", records, axes, reference, concurrent=2)
    assert curve.epochs == (0, 15, 21, 21)
    assert curve.minutes == pytest.approx((0, (90 + 60 + 60) / 120, 330 / 120, 330 / 120))
    assert curve.hypervolume == pytest.approx((0, 0.5 * 10 * 5, 0.6 * 10 * 5, 0.6 * 10 * 5))


def test_curves_of_a_study_and_its_baseline_end_where_they_ended(tmp_path: Path) -> None:
    store = StudyStore.create(tmp_path / "s", StudyConfig(study="s", data="none"), toy())
    engine = Engine(store, build)
    work(engine, 12)
    engine.close()
    assert study_curves(store) == ()
    baseline = ready_baseline(store, "")
    work(Engine(baseline, build))
    ours, random = study_curves(store)
    assert (ours.epochs[-1], random.epochs[-1]) == (spent_epochs(store), spent_epochs(baseline))
    assert ours.hypervolume[-1] == pytest.approx(summarise(store).hypervolume)
    assert random.hypervolume[-1] == pytest.approx(summarise(baseline).hypervolume)
    assert list(ours.hypervolume) == sorted(ours.hypervolume)


def test_the_comparison_in_a_sentence() -> None:
    assert compare_curves(CURVES) == (
        "Random search reaches 1 in 9 epochs, this search 2 in 12; it was past random search's end after 9."
    )
    assert compare_curves(CURVES[::-1]) == "Random search reaches 2 in 12 epochs, this search 1 in 9."
    assert CURVES[1].points()[1] == {"search": "random search", "epochs": 9.0, "minutes": 1.0, "hypervolume": 1.0}
