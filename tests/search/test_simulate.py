"""What every sampler with every scheduler keeps to, on a small conditional space with a constraint and failures."""

from __future__ import annotations

from typing import Any

import pytest

from nasdet.search import Simulation, simulate
from nasdet.space.schema import SAMPLERS, SCHEDULERS
from tests.search.conftest import accuracy, toy

PAIRS = [(s, k) for k in SCHEDULERS for s in SAMPLERS if k != "freeze_thaw" or s == "auto"]


def evaluate(params: dict[str, Any], epochs: int) -> dict[str, float]:
    if 0.1 < params["x"] < 0.2:
        raise RuntimeError("out of memory")
    return {"ap": accuracy(params, epochs), "params_m": float(params["size"])}


def run(sampler: str, scheduler: str, *, workers: int = 3, costs: bool = True, **budget: Any) -> Simulation:
    space = toy(
        sampler={"kind": sampler},
        scheduler={"kind": scheduler, "eta": 3},
        budget={"trials": 20, "epochs": 9, "rungs": [1, 3, 9], "seed": 1, **budget},
    )
    known = (lambda params: {"params_m": float(params["size"])}) if costs else None
    return simulate(evaluate, space, workers=workers, costs=known)


@pytest.mark.parametrize(("sampler", "scheduler"), PAIRS)
@pytest.mark.parametrize("workers", [1, 3])
def test_conformance(sampler: str, scheduler: str, workers: int) -> None:
    simulation = run(sampler, scheduler, workers=workers)
    study = simulation.study
    summary, space = study.summary(), study.space
    assert summary["trials"]["total"] == 20
    assert summary["trials"]["complete"] >= 4 and summary["hypervolume"] > 0
    assert summary["trials"]["running"] == summary["trials"]["paused"] == 0
    for record in study.records:
        assert not space.problems(record.params)
        assert [r.epochs for r in record.rungs] == list(space.rungs()[: len(record.rungs)])
        assert record.state != "infeasible" or record.params["size"] > 40
        assert not record.rungs or record.params["size"] <= 40
        assert (record.state == "failed") <= (0.1 < record.params["x"] < 0.2)
        assert record.state != "failed" or "out of memory" in record.reason
    assert all(m["trial"] in {t.trial for t in simulation.history if t.stop == 9} for m in summary["front"])
    told = [r.told for record in study.records for r in record.rungs]
    assert sorted(told) == list(range(len(told)))


@pytest.mark.parametrize(("sampler", "scheduler"), PAIRS)
def test_same_seed_same_study(sampler: str, scheduler: str) -> None:
    stories = [[(r.params, r.rungs) for r in run(sampler, scheduler).study.records] for _ in range(2)]
    assert stories[0] == stories[1]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("costs", [True, False])
def test_total_epochs_are_kept_and_spent(scheduler: str, costs: bool) -> None:
    history = run("auto", scheduler, trials=None, total_epochs=100, costs=costs).history
    assert 90 < history[-1].epochs <= 100
    assert [h.time for h in history] == sorted(h.time for h in history)
