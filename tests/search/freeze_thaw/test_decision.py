from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from nasdet.search import Candidate, Job, MemoryStore, SearchSpace, Study, parse_space, simulate
from nasdet.search.freeze_thaw.decision import MAX_DESIGN, FreezeThaw
from nasdet.trial import Rung, TrialRecord
from tests.search.conftest import accuracy, toy

RUNGS = [1, 3, 9]


def frozen(**changes: Any) -> SearchSpace:
    return toy(scheduler={"kind": "freeze_thaw"}, **changes)


def costs(params: dict[str, Any]) -> dict[str, float]:
    return {"params_m": float(params["size"])}


def evaluate(params: dict[str, Any], epochs: int) -> dict[str, float]:
    return {"ap": accuracy(params, epochs), "params_m": float(params["size"])}


def wide(parameters: int, objectives: int = 2) -> SearchSpace:
    names = ["ap", "latency_ms", "params_m"][:objectives]
    return parse_space(
        {
            "name": "wide",
            "space": {f"p{i}": {"kind": "float", "low": 0.0, "high": 1.0} for i in range(parameters)},
            "objectives": [{"name": n, "direction": "max" if n == "ap" else "min"} for n in names],
            "budget": {"epochs": 9, "rungs": RUNGS},
            "scheduler": {"kind": "freeze_thaw"},
        },
        function=True,
    )


def history(space: SearchSpace, observations: int) -> list[TrialRecord]:
    """Records with so many values at rungs; one in ten was trained in full, three run."""
    rng, records, told = random.Random(0), [], 0
    while told < observations:
        number = len(records)
        params = space.sample(rng)
        values = {"latency_ms": 1 + sum(list(params.values())[:3]), "params_m": 1 + sum(list(params.values())[2:5])}
        reach = 3 if number % 10 == 0 else 1
        rungs = tuple(
            Rung(e, {"ap": sum(params.values()) / len(params) * (1 - 0.5 / e), **values}, told=told + j)
            for j, e in enumerate(RUNGS[:reach])
        )
        told += reach
        state = "complete" if reach == 3 else "paused"
        last = rungs[-1]
        records.append(TrialRecord(f"t{number}", number, state, params, None, None, last.values, last.epochs, rungs))
    for _ in range(3):
        number = len(records)
        records.append(TrialRecord(f"t{number}", number, "running", space.sample(rng), values={"params_m": 2.0}))
    return records


def chooser(space: SearchSpace) -> FreezeThaw:
    return FreezeThaw(space, lambda params: Candidate(None, None, {}), cheap_build=False)


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_a_decision_is_a_pure_function(objectives: int) -> None:
    space = wide(6, objectives)
    records, reference = history(space, 40), [0.0, 5.0, 5.0][:objectives]
    warm = chooser(space)
    warm.decide(records[:30], seed=1, number=30, reference=reference)
    asked = [c.decide(records, seed=1, number=len(records), reference=reference) for c in (warm, chooser(space))]
    assert asked[0] == asked[1]
    numbers = {str(warm.decide(records, seed=s, number=len(records), reference=reference)) for s in range(4)}
    assert len(numbers) > 1


def test_finds_the_best_with_few_epochs() -> None:
    space = frozen(budget={"epochs": 9, "rungs": RUNGS, "total_epochs": 200, "seed": 0})
    study = simulate(evaluate, space, workers=1, costs=costs).study
    best = max(study.front, key=lambda r: r.values["ap"])
    assert abs(best.params["x"] - 0.7) < 0.03 and best.params["size"] >= 30
    assert max(r.params["size"] for r in study.records if r.rungs) <= 40


def test_resume_in_the_middle_is_the_unbroken_study_also_where_costs_are_learnt() -> None:
    space = frozen(budget={"trials": 15, "epochs": 9, "rungs": RUNGS, "seed": 4})
    whole = simulate(evaluate, space, workers=1).study.records
    first = Study(space)
    for _ in range(17):
        job = first.ask()
        assert job is not None
        first.tell(job, evaluate(job.params, job.stop))
    first.ask()  # cut off
    stored = [TrialRecord.from_json(r.to_json()) for r in first.records]
    store = MemoryStore(space, stored)
    store.save_config(**first.store.config.to_json())
    again = simulate(evaluate, space, workers=1, store=store).study.records
    assert [(r.params, r.values, [g.values for g in r.rungs]) for r in again] == [
        (r.params, r.values, [g.values for g in r.rungs]) for r in whole
    ]


def test_the_design_covers_the_known_cost() -> None:
    space = wide(5)
    decides = FreezeThaw(space, lambda p: Candidate(None, None, {"latency_ms": p["p0"]}), cheap_build=True)
    chosen = [decides.decide([], seed=0, number=i, reference=[]).params for i in range(MAX_DESIGN)]
    places = sorted(int(p["p0"] * MAX_DESIGN) for p in chosen if p is not None)
    assert len(set(places)) >= MAX_DESIGN - 5


def test_running_candidates_are_not_proposed_again() -> None:
    space = frozen(budget={"epochs": 9, "rungs": RUNGS, "total_epochs": 250, "seed": 2})
    study = simulate(evaluate, space, workers=8, costs=costs).study
    assert sum(r.state == "duplicate" for r in study.records) <= 2
    assert sum(r.state == "complete" for r in study.records) >= 8


def test_a_time_limit_is_kept_and_something_trained_in_full() -> None:
    space = frozen(budget={"epochs": 9, "rungs": RUNGS, "time_limit": "150s", "seed": 1})
    done = simulate(evaluate, space, workers=1, costs=costs)
    assert 140 < done.history[-1].time <= 150
    assert len(done.study.front) >= 2


def test_a_small_network_is_worth_more_where_seconds_count() -> None:
    """Epochs of large candidates take ten times as long: with a time limit fewer of them are trained in full."""

    def seconds(job: Job) -> float:
        return (job.stop - job.record.epochs) * (0.2 + 2.0 * job.params["size"] / 50)

    def sizes(**budget: Any) -> float:
        space = frozen(budget={"epochs": 9, "rungs": RUNGS, "seed": 1, **budget})
        study = simulate(evaluate, space, workers=1, costs=costs, seconds=seconds).study
        return float(np.mean([r.params["size"] for r in study.records if r.state == "complete"]))

    assert sizes(time_limit="120s") < sizes(total_epochs=120)


@pytest.mark.parametrize(("seconds", "designed"), [(1.0, True), (40.0, False)])
def test_a_design_takes_no_more_than_its_share_of_the_time(seconds: float, designed: bool) -> None:
    space = frozen(budget={"epochs": 9, "rungs": RUNGS, "time_limit": 1000.0})
    decides = FreezeThaw(space, lambda p: Candidate(None, None, costs(p)), cheap_build=True)
    design = [decides.decide([], seed=0, number=i, reference=[]).params for i in range(MAX_DESIGN)]
    records: list[TrialRecord] = []
    for i, params in enumerate(p for p in design[:6] if p is not None):
        values = evaluate(params, 1)
        rungs = (Rung(1, values, told=i),)
        records.append(TrialRecord(f"t{i}", i, "paused", params, None, None, values, 1, rungs, train_seconds=seconds))
    decision = decides.decide(records, seed=0, number=6, reference=[0.0, 64.0])
    assert (decision.params == design[6]) is designed
    early = decides.decide(records[:3], seed=0, number=3, reference=[0.0, 64.0])
    assert early.params == design[3]
