"""`SearchSpace`: conditions, samples, sizes, rungs, constraints."""

import random

import numpy as np
import pytest

from nasdet.space import Constraint, load_space, parse_space

NESTED = {
    "space": {
        "c": {"kind": "choice", "values": [1, 2], "when": {"b": [1, 2]}},
        "b": {"kind": "int", "low": 0, "high": 2, "when": {"a": "on"}},
        "a": {"kind": "choice", "values": ["on", "off"]},
        "d": {"kind": "choice", "values": [[1, 2], [3]], "when": {"a": "off"}},
    },
    "objectives": [{"name": "y", "direction": "max"}],
}


@pytest.fixture
def nested():
    return parse_space(NESTED, function=True)


def test_parents_come_first_and_conditions_chain(nested):
    assert list(nested.parameters) == ["a", "b", "c", "d"] or list(nested.parameters).index("b") < 3
    assert set(nested.active({"a": "off"})) == {"a", "d"}
    assert set(nested.active({"a": "on", "b": 0})) == {"a", "b"}
    assert set(nested.active({"a": "on", "b": 2})) == {"a", "b", "c"}
    assert set(nested.active({"a": "off", "b": 2})) == {"a", "d"}


def test_condition_on_a_list_value():
    data = {**NESTED, "space": {**NESTED["space"], "e": {"kind": "int", "low": 0, "high": 1, "when": {"d": [1, 2]}}}}
    space = parse_space(data, function=True)
    assert space.conditions["e"] == {"d": ([1, 2],)}
    assert "e" in space.active({"a": "off", "d": [1, 2]}) and "e" not in space.active({"a": "off", "d": [3]})


@pytest.mark.parametrize("rng", [random.Random(0), np.random.default_rng(0)], ids=["random", "numpy"])
def test_samples_respect_conditions(nested, rng):
    shapes = set()
    for _ in range(200):
        params = nested.sample(rng)
        assert not nested.problems(params)
        shapes.add(tuple(sorted(params)))
    assert shapes == {("a", "b"), ("a", "b", "c"), ("a", "d")}


def test_sampling_is_repeatable_and_keeps_given_values(nested):
    assert nested.sample(random.Random(3)) == nested.sample(random.Random(3))
    assert all(nested.sample(random.Random(i), {"a": "on", "b": 2})["b"] == 2 for i in range(20))
    assert "b" not in nested.sample(random.Random(0), {"a": "off", "b": 2})


def test_problems_are_named(nested):
    assert nested.problems({"a": "on"}) == ["b is missing"]
    assert nested.problems({"a": "off", "d": [3], "b": 1}) == ["b does not exist under the other values"]
    assert nested.problems({"a": "off", "d": [4]}) == ["d = [4] is outside its domain"]
    assert nested.problems({"a": "off", "d": [3], "z": 1}) == ["z is not a parameter of space"]


@pytest.mark.parametrize(
    ("budget", "scheduler", "rungs"),
    [
        ({"epochs": 27}, {}, (1, 3, 9, 27)),
        ({"epochs": 81}, {}, (3, 9, 27, 81)),
        ({"epochs": 12}, {"eta": 2}, (2, 3, 6, 12)),
        ({"epochs": 1}, {}, (1,)),
        ({"epochs": 12, "rungs": [2, 12]}, {}, (2, 12)),
        ({"epochs": 12, "rungs": [2, 12]}, {"kind": "full"}, (12,)),
    ],
)
def test_rungs(budget, scheduler, rungs):
    assert parse_space({**NESTED, "budget": budget, "scheduler": scheduler}, function=True).rungs() == rungs


@pytest.mark.parametrize(
    ("text", "inside", "outside"), [("params_m <= 5", 5.0, 5.1), ("gflops>=1e-1", 0.1, 0.05), ("latency_ms < 5", 4, 5)]
)
def test_constraints(text, inside, outside):
    constraint = Constraint.parse(text)
    assert constraint.holds({constraint.name: inside}) and not constraint.holds({constraint.name: outside})
    assert constraint.violation({constraint.name: inside}) <= 0 <= constraint.violation({constraint.name: outside})
    assert Constraint.parse(str(constraint)) == constraint


def test_a_changed_budget_survives_the_yaml(nested, tmp_path):
    named = load_space("detnet", overrides=["budget.epochs=12", "budget.rungs=[2, 5, 12]"])
    space = named.with_budget(trials=3, epochs=24, time_limit=90.0, seed=7)
    assert (space.budget.trials, space.budget.rungs, space.budget.time_limit) == (3, (4, 10, 24), 90.0)
    (tmp_path / "space.yaml").write_text(space.to_yaml())
    assert load_space(tmp_path / "space.yaml") == space
    assert space.with_budget(epochs=1).rungs() == (1,)
    assert nested.with_budget(epochs=27).rungs() == (1, 3, 9, 27)


def test_other_limits() -> None:
    given = {"epochs": 9, "trials": 12, "total_epochs": 50}
    document = {
        "space": {"x": {"kind": "float", "low": 0, "high": 1}},
        "objectives": [{"name": "y", "direction": "max"}],
        "budget": given,
    }
    space = parse_space(document, function=True).with_limits(time_limit=90.0)
    assert (space.budget.trials, space.budget.total_epochs, space.budget.time_limit) == (None, None, 90.0)
    assert space.raw["budget"] == {"epochs": 9, "time_limit": 90.0}


def test_small_images_are_less_work():
    small = load_space("detnet", overrides=["fixed.recipe.progressive={scale: 0.5, share: 0.5}"])  # of 8 epochs
    assert small.work([0, 2, 4, 8]).tolist() == [0, 0.5, 1, 5]
    assert load_space("detnet").work([0, 2, 4, 8]).tolist() == [0, 2, 4, 8]
    last = load_space("detnet", overrides=["fixed.recipe.progressive={scale: 0.5, share: 0.99}"])
    assert last.work([7, 8]).tolist() == [1.75, 2.75]  # the last epoch is at full size
    assert parse_space(NESTED, function=True).work(5) == 5
