"""A space of two parameters and a store for it. One decision: values come from a formula, so what is good is known."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nasdet.search import Candidate, Engine, StudyStore
from nasdet.space import Constraint, SearchSpace, parse_space
from nasdet.study_config import StudyConfig
from nasdet.trial import Rung, TrialRecord

TOY: dict[str, Any] = {
    "name": "toy",
    "space": {
        "x": {"kind": "float", "low": 0.0, "high": 1.0},
        "size": {"kind": "int", "low": 1, "high": 50},
        "kind": {"kind": "choice", "values": ["a", "b", [1, 2]]},
        "extra": {"kind": "float", "low": 0.0, "high": 1.0, "when": {"kind": "b"}},
    },
    "objectives": [{"name": "ap", "direction": "max"}, {"name": "params_m", "direction": "min"}],
    "budget": {"trials": 20, "epochs": 9, "rungs": [1, 3, 9], "seed": 1},
    "scheduler": {"kind": "halving", "eta": 3},
}
BOUND = Constraint("params_m", "<=", 40.0)


def toy(**changes: Any) -> SearchSpace:
    """The space, with top-level keys changed; bounded to 40M parameters."""
    return dataclasses.replace(parse_space({**TOY, **changes}, function=True), constraints=(BOUND,))


@pytest.fixture
def space() -> SearchSpace:
    return toy()


@pytest.fixture
def store(space: SearchSpace, tmp_path: Path) -> StudyStore:
    return StudyStore.create(tmp_path / "toy-1", StudyConfig(study="toy-1", data="none"), space)


def build(params: dict[str, Any]) -> Candidate:
    return Candidate({"x": params["x"], "size": params["size"]}, {}, {"params_m": float(params["size"])})


def accuracy(params: dict[str, Any], epochs: int) -> float:
    """Best at x = 0.7 and large size; rises with epochs."""
    return (1 - abs(params["x"] - 0.7)) * (0.3 + 0.7 * params["size"] / 50) * (1 - 0.5 / epochs)


def observed(space: SearchSpace, count: int) -> list[TrialRecord]:
    rng = random.Random(0)
    records = []
    for number in range(count):
        params: dict[str, Any] = space.sample(rng)
        values = {"ap": accuracy(params, 1), "params_m": float(params["size"])}
        state = "infeasible" if params["size"] > 40 else "paused"
        rungs = () if state == "infeasible" else (Rung(1, values),)
        records.append(TrialRecord(f"t{number}", number, state, params, values=values, epochs=1, rungs=rungs))
    return records


def work(engine: Engine, jobs: int | None = None) -> list[tuple[str, int]]:
    """Run jobs one after another until the engine has none left; returns (trial, epochs) in order."""
    from nasdet.search import Finished

    done: list[tuple[str, int]] = []
    while jobs is None or len(done) < jobs:
        engine.fix_reference()
        try:
            job = engine.next_job()
        except Finished:
            engine.close()
            return done
        assert job is not None
        values = {"ap": accuracy(job.record.params, job.stop)}
        engine.report(job.record.trial, job.stop, values, seconds=1.0, overhead=0.1)
        done.append((job.record.trial, job.stop))
    return done


@pytest.fixture
def runs() -> Callable[..., list[tuple[str, int]]]:
    return work


@pytest.fixture
def engine(store: StudyStore) -> Engine:
    return Engine(store, build)


@pytest.fixture
def builds() -> Callable[[dict[str, Any]], Candidate]:
    return build
