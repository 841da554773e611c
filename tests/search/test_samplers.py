from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from nasdet.search.samplers import fidelity, propose
from nasdet.space import SearchSpace
from nasdet.space.schema import SAMPLERS, SamplerConfig
from nasdet.space.trial import Rung, TrialRecord
from tests.search.conftest import accuracy

KINDS = [k for k in SAMPLERS if k != "auto"]


def observed(space: SearchSpace, count: int) -> list[TrialRecord]:
    import random

    rng = random.Random(0)
    records = []
    for number in range(count):
        params: dict[str, Any] = space.sample(rng)
        values = {"ap": accuracy(params, 1), "params_m": float(params["size"])}
        state = "infeasible" if params["size"] > 40 else "paused"
        rungs = () if state == "infeasible" else (Rung(1, values),)
        records.append(TrialRecord(f"t{number}", number, state, params, values=values, epochs=1, rungs=rungs))
    return records


def with_sampler(space: SearchSpace, kind: str) -> SearchSpace:
    return dataclasses.replace(space, sampler=SamplerConfig(kind=kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 4, 30])
def test_proposals_are_valid(space: SearchSpace, kind: str, count: int) -> None:
    chosen, records = with_sampler(space, kind), observed(space, count)
    for number in range(count, count + 5):
        params = propose(chosen, records, seed=3, number=number)
        assert not chosen.problems(params)


@pytest.mark.parametrize("kind", KINDS)
def test_proposals_repeat(space: SearchSpace, kind: str) -> None:
    chosen, records = with_sampler(space, kind), observed(space, 30)
    once, twice = (propose(chosen, records, seed=3, number=31) for _ in range(2))
    assert once == twice
    assert once != propose(chosen, records, seed=4, number=31)


def test_tpe_learns_where_accuracy_is(space: SearchSpace) -> None:
    records = observed(space, 60)
    near = [abs(propose(with_sampler(space, "tpe"), records, seed=0, number=60 + i)["x"] - 0.7) for i in range(30)]
    random = [abs(propose(with_sampler(space, "random"), records, seed=0, number=60 + i)["x"] - 0.7) for i in range(30)]
    assert sum(near) < 0.8 * sum(random)


def test_learns_from_the_highest_rung_with_enough_points(space: SearchSpace) -> None:
    records = observed(space, 30)
    assert fidelity(records) == 1
    promoted = [
        r.replace(rungs=(*r.rungs, Rung(3, r.values))) if r.rungs and i < 14 else r for i, r in enumerate(records)
    ]
    assert fidelity(promoted) == 3
    assert fidelity([]) == 0
