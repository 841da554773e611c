"""Staged search: what each stage holds, under every scheduler, over a resume, and in step with the budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nasdet.errors import InputError
from nasdet.pareto import front
from nasdet.search import Candidate, Engine, MemoryStore, Study, StudyStore, simulate
from nasdet.search.engine.staged import groups
from nasdet.space import SearchSpace, load_space, parse_space
from nasdet.trial import TrialRecord
from tests.search.conftest import TOY

STRUCTURE = ["size", "kind", "extra"]
SCHEDULERS = ({"kind": "halving", "eta": 3}, {"kind": "full"}, {"kind": "freeze_thaw"})


def staged(kind: str, **changes: Any) -> SearchSpace:
    return parse_space({**TOY, "mode": {"kind": kind, "structure": STRUCTURE}, **changes}, function=True)


def evaluate(params: dict[str, Any], epochs: int) -> dict[str, float]:
    good = (1 - abs(params["x"] - 0.7)) * (0.3 + 0.7 * params["size"] / 50)
    return {"ap": good * (1 - 0.5 / epochs)}


def costs(params: dict[str, Any]) -> dict[str, float]:
    return {"params_m": float(params["size"])}


def searched(space: SearchSpace, store: Any = None, **options: Any) -> list[TrialRecord]:
    return simulate(evaluate, space, workers=1, costs=costs, store=store, **options).study.records


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=lambda s: s["kind"])
def test_structure_is_searched_with_a_default_recipe_then_held_as_on_the_front(scheduler: dict[str, Any]) -> None:
    space, store = staged("structure_first", scheduler=scheduler), None
    store = MemoryStore(space)
    records = searched(space, store)
    found = store.config["settled"]
    first = [r for r in records if r.params["x"] == 0.5]  # the middle of its range
    second = records[len(first) :]
    assert len(first) >= 10 and len(second) >= 5 and records[: len(first)] == first
    assert len({r.params["size"] for r in first}) > 4
    assert all({n: v for n, v in r.params.items() if n != "x"} in found for r in second)
    assert len({r.params["x"] for r in second}) == len(second)


def test_recipe_first_holds_the_first_point_then_the_recipes_of_the_front() -> None:
    space = staged("recipe_first", points=[{"x": 0.1}, {"size": 20, "kind": "b"}, {"size": 5}])
    store = MemoryStore(space)
    records = searched(space, store)
    assert records[0].params["x"] == 0.1 and records[0].params["size"] == 20  # points fill what they leave out
    first = [r for r in records[3:] if r.params["size"] == 20 and r.params["kind"] == "b"]
    assert len(first) >= 6 and len({r.params["x"] for r in first}) == len(first)
    assert {r.params["extra"] for r in first} == {0.5}
    recipes = {settled["x"] for settled in store.config["settled"]}
    second = records[3 + len(first) :]
    assert second and {r.params["x"] for r in second} <= recipes and len({r.params["size"] for r in second}) > 1


def test_what_the_second_stage_holds_stays_when_the_front_grows() -> None:
    space = staged("structure_first")
    store = MemoryStore(space)
    study = Study(space, costs=costs, store=store, reference=[0.0, 50.0])
    held = None
    while held is None:
        job = study.ask()
        assert job is not None
        study.tell(job, evaluate(job.params, job.stop))
        held = store.config.get("settled")
    on_front = [{n: v for n, v in r.params.items() if n != "x"} for r in front(study.records, space.objectives)]
    assert held == on_front
    searched(space, store)
    assert store.config["settled"] == held


def test_a_resumed_study_goes_on_as_an_unbroken_one(tmp_path: Path) -> None:
    space = staged("recipe_first", scheduler={"kind": "freeze_thaw"})
    whole = searched(space)
    folder = tmp_path / "broken"
    StudyStore.create(folder, {"study": "broken", "data": "none"}, space)
    for jobs in (9, 14, 60):
        store = StudyStore.open(folder)
        study = Study(store.space, costs=costs, store=store)
        for _ in range(jobs):
            try:
                job = study.ask()
            except Exception:
                break
            assert job is not None
            study.tell(job, evaluate(job.params, job.stop))
    study.close()
    assert [(r.params, r.epochs, r.state) for r in study.records] == [(r.params, r.epochs, r.state) for r in whole]


def test_a_joint_search_is_what_it_was_without_a_mode() -> None:
    bare = {k: v for k, v in TOY.items() if k != "mode"}
    assert searched(parse_space(bare, function=True)) == searched(parse_space({**bare, "mode": "joint"}, function=True))


def test_the_second_stage_begins_by_time_where_time_is_limited() -> None:
    now = [0.0]
    space = staged("structure_first", budget={"epochs": 9, "rungs": [1, 3, 9], "time_limit": 400, "seed": 1})
    engine = Engine(MemoryStore(space), lambda p: Candidate(None, None, costs(p)), fast=True, clock=lambda: now[0])
    engine.fix_reference()
    switched = None
    while switched is None:
        job = engine.next_job()
        assert job is not None
        now[0] += job.stop - job.record.epochs
        engine.report(job.record.trial, job.stop, evaluate(job.params, job.stop), seconds=1.0, overhead=0.0)
        switched = now[0] if "settled" in engine.store.config else None
    assert 120 <= switched <= 150


def test_detectors_are_split_by_path() -> None:
    recipe, structure = groups(load_space("detnet", overrides=["mode=recipe_first"]))
    assert "norm.kind" in recipe and "recipe.base_lr" in recipe and "backbone.width" in structure
    assert groups(load_space("detnet", overrides=["mode=structure_first"])) == (structure, recipe)


@pytest.mark.parametrize(
    ("mode", "what"),
    [
        ("structure_first", "every parameter is structure"),
        ({"kind": "recipe_first", "structure": ["sise"]}, "'sise' is no parameter of this space; did you mean 'size'"),
        ("first_recipe", "mode"),
    ],
)
def test_a_mode_that_cannot_be_searched_is_named(mode: Any, what: str) -> None:
    with pytest.raises(InputError, match=what):
        parse_space({**TOY, "mode": mode}, function=True)
