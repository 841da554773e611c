from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nasdet.errors import InputError
from nasdet.pareto import front
from nasdet.search import Candidate, Engine, Finished, MemoryStore
from nasdet.space import SearchSpace
from nasdet.trial import TrialRecord
from tests.search.conftest import TOY, toy

Runs = Callable[..., list[tuple[str, int]]]


@pytest.fixture
def store(space: SearchSpace) -> MemoryStore:
    return MemoryStore(space)


def reopened(store: MemoryStore) -> MemoryStore:
    """The store as another process reads it."""
    return MemoryStore(store.space, [TrialRecord.from_json(r.to_json()) for r in store.records()])


def test_trains_every_trial_and_promotes_some(engine: Engine, runs: Runs) -> None:
    done = runs(engine)
    states = [r.state for r in engine.store.records() if r.state not in ("infeasible", "duplicate")]
    assert len(states) == 20
    assert set(states) == {"complete", "stopped"}
    assert sum(stop == 1 for _, stop in done) == 20
    assert 4 <= states.count("complete") < 10


def test_only_full_budget_stands_on_the_front(engine: Engine, runs: Runs) -> None:
    runs(engine)
    members = front(engine.store.records(), engine.space.objectives)
    assert members and all(m.epochs == 9 for m in members)


def test_a_value_at_low_budget_is_kept_apart(engine: Engine, runs: Runs) -> None:
    runs(engine)
    record = next(r for r in engine.store.records() if r.state == "complete")
    assert [r.epochs for r in record.rungs] == [1, 3, 9]
    assert record.rungs[0].values["ap"] < record.values["ap"]


def test_infeasible_and_duplicate_train_nothing(engine: Engine, runs: Runs) -> None:
    done = runs(engine)
    trained = {trial for trial, _ in done}
    for record in engine.store.records():
        assert (record.trial in trained) == (record.state not in ("infeasible", "duplicate"))
        if record.state == "infeasible":
            assert record.values["params_m"] > 40
            assert "violates params_m <= 40" in record.reason


def test_duplicates_are_found_by_content(store: MemoryStore, runs: Runs) -> None:
    def coarse(params: dict[str, Any]) -> Candidate:
        return Candidate({"half": params["x"] > 0.5, "size": params["size"] // 10}, {}, {"params_m": 1.0})

    engine = Engine(store, coarse)
    runs(engine)
    assert any(r.state == "duplicate" and "the same as t0" in r.reason for r in store.records())


def test_an_interrupted_job_is_handed_out_again_first(store: MemoryStore, builds: Any, runs: Runs) -> None:
    engine = Engine(store, builds)
    runs(engine, jobs=3)
    engine.fix_reference()
    lost = engine.next_job()
    assert lost is not None
    later = Engine(reopened(store), builds)
    job = later.next_job()
    assert job is not None
    assert (job.record.trial, job.stop) == (lost.record.trial, lost.stop)


def test_failed_trials_stay_failed(engine: Engine, runs: Runs) -> None:
    engine.fix_reference()
    job = engine.next_job()
    assert job is not None
    engine.fail(job.record.trial, "out of memory")
    runs(engine)
    assert engine.store.get(job.record.trial).state == "failed"
    assert sum(r.state == "failed" for r in engine.store.records()) == 1


def test_waits_while_others_run(engine: Engine) -> None:
    engine.fix_reference()
    jobs = [engine.next_job() for _ in range(20)]
    assert len({job.record.trial for job in jobs if job is not None}) == 20
    assert engine.next_job() is None  # all 20 trials of the budget are running


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_slow_trial_is_finished_rather_than_a_new_one_started(builds: Any, scale: float) -> None:
    """Also where its first epochs, with small images, took a fourth of what the others will take."""
    small = {"recipe": {"progressive": {"scale": scale}}}
    limited = toy(budget={"epochs": 9, "rungs": [1, 3, 9], "time_limit": "100s"})
    limited = dataclasses.replace(limited, fixed=small, function=False)
    store = MemoryStore(limited)
    now = [0.0]
    engine = Engine(store, builds, clock=lambda: now[0])
    with pytest.raises(Finished):
        while True:
            engine.fix_reference()
            job = engine.next_job()
            assert job is not None
            # 90 s for one trial in full
            seconds = 90.0 * float(np.ptp(limited.work([job.record.epochs, job.stop])) / limited.work(9))
            now[0] += seconds
            engine.report(job.record.trial, job.stop, {"ap": 0.5}, seconds=seconds, overhead=0)
    assert [r.state for r in store.records()].count("complete") == 1
    assert now[0] <= 100


def test_a_space_that_no_measured_cost_allows_ends(engine: Engine) -> None:
    engine.fix_reference()
    with pytest.raises(InputError, match=r"100 proposals in a row were infeasible .*too slow"):
        while (job := engine.next_job()) is not None:
            engine.reject(job.record.trial, "too slow")


def test_a_stopped_trial_keeps_its_reason(engine: Engine) -> None:
    engine.fix_reference()
    job = engine.next_job()
    assert job is not None
    engine.report(job.record.trial, job.stop, {"ap": 0.5}, seconds=1, overhead=0)
    assert [r.trial for r in engine.paused()] == [job.record.trial]
    engine.stop(job.record.trial, "no room")
    engine.close()
    record = engine.store.get(job.record.trial)
    assert (record.state, record.reason) == ("stopped", "no room")


def test_time_limit_reserves_time_for_promotions(builds: Any) -> None:
    limited = toy(budget={"epochs": 9, "rungs": [1, 3, 9], "time_limit": "100s"})
    store = MemoryStore(limited)
    now = [0.0]
    engine = Engine(store, builds, clock=lambda: now[0])
    new: list[float] = []
    with pytest.raises(Finished):
        while True:
            engine.fix_reference()
            job = engine.next_job()
            assert job is not None
            if job.record.epochs == 0:
                new.append(now[0])
            epochs = job.stop - job.record.epochs
            now[0] += epochs
            engine.report(job.record.trial, job.stop, {"ap": 0.5}, seconds=epochs, overhead=0)
    assert max(new) <= 60
    assert now[0] <= 100
    assert any(r.state == "complete" for r in store.records())


def test_reference_point_follows_the_stated_rule(engine: Engine) -> None:
    assert engine.fix_reference() is None
    assert engine.reference == [0.0, 40.0]


def test_without_a_constraint_the_costliest_of_random_candidates_is_the_reference(builds: Any) -> None:
    free = dataclasses.replace(toy(), constraints=())
    engine = Engine(MemoryStore(free), builds)
    engine.fix_reference()
    rng = random.Random(free.budget.seed)
    sizes = [free.sample(rng)["size"] for _ in range(16)]
    assert engine.reference == [0.0, max(sizes)] and max(sizes) > min(sizes)


def test_latency_reference_is_asked_for_once(builds: Any) -> None:
    objectives = [TOY["objectives"][0], {"name": "latency_ms", "direction": "min"}]
    store = MemoryStore(toy(objectives=objectives))
    engine = Engine(store, builds)
    asked = engine.fix_reference()
    assert asked is not None and not engine.reference
    assert engine.fix_reference({"latency_ms": 7.5}) is None
    assert engine.reference == [0.0, 7.5]


def test_an_empty_space_is_a_plain_error(store: MemoryStore) -> None:
    engine = Engine(store, lambda params: Candidate({}, {}, {"params_m": 99.0}))
    with pytest.raises(InputError, match=r"100 proposals in a row were infeasible .*nasdet check"):
        engine.next_job()


@pytest.mark.parametrize("kind", ["halving", "full", "freeze_thaw"])
def test_costs_that_are_always_too_high_end_the_study(builds: Any, kind: str) -> None:
    space = toy(scheduler={"kind": kind}, budget={"epochs": 9, "rungs": [1, 3, 9], "total_epochs": 1000, "seed": 1})
    engine = Engine(MemoryStore(space), builds)
    engine.fix_reference()
    with pytest.raises(InputError, match="100 proposals in a row were infeasible"):
        while (job := engine.next_job()) is not None:
            engine.reject(job.record.trial, "too slow")


def test_time_goes_on_from_where_a_study_was_left(space: SearchSpace, builds: Any) -> None:
    store = MemoryStore(space)
    store.save_config(wall_seconds=30.0)
    now = [100.0]
    engine = Engine(store, builds, clock=lambda: now[0])
    now[0] += 5
    assert engine.elapsed == 35


def test_a_job_under_way_is_stopped_when_the_study_ends(space: SearchSpace, builds: Any) -> None:
    engine = Engine(MemoryStore(space), builds)
    job = engine.next_job()
    assert job is not None
    engine.close()
    record = engine.store.get(job.record.trial)
    assert (record.state, record.reason) == ("stopped", "out of time")


def test_a_late_failure_of_all_that_ran_does_not_end_the_search(builds: Any) -> None:
    """The last part of the time is for promotions, but only where there is something to promote."""
    limited = toy(budget={"epochs": 9, "rungs": [1, 3, 9], "time_limit": "100s"})
    now = [0.0]
    engine = Engine(MemoryStore(limited), builds, clock=lambda: now[0])
    job = engine.next_job()
    assert job is not None
    now[0] = 70.0
    engine.fail(job.record.trial, "out of memory")
    following = engine.next_job()
    assert following is not None and following.record.epochs == 0


def test_infeasible_proposals_count_only_in_a_row() -> None:
    space = toy(scheduler={"kind": "full"}, sampler={"kind": "random"}, budget={"epochs": 1, "trials": 60, "seed": 1})

    def build(params: dict[str, Any]) -> Candidate:
        return Candidate(dict(params), {}, {"params_m": 1.0}, infeasible="too far" if params["x"] < 0.75 else "")

    engine = Engine(MemoryStore(space), build)
    with pytest.raises(Finished):
        while (job := engine.next_job()) is not None:
            engine.report(job.record.trial, job.stop, {"ap": 0.5}, seconds=1.0, overhead=0.0)
    ledger = engine.store.ledger
    assert ledger.count("complete") == 60 and ledger.count("infeasible") > 100
