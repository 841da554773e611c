"""Search spaces, recipes, and the options that are laid over them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nasdet.errors import InputError
from nasdet.export import pick
from nasdet.space import load_space
from nasdet.space.bundled_spaces import find_space
from nasdet.space.parameter_paths import known_paths
from nasdet.space.recipes import load_recipe
from nasdet.space.space import Constraint, Objective
from nasdet.trial import TrialRecord
from tests.fuzz.guard import Guard
from tests.fuzz.strategies import JUNK, LEAVES, WORDS, damaged, damaged_text, deep

Again = Callable[[Callable[[], None]], None]
FUNCTION = {
    "space": {
        "x": {"kind": "float", "low": 0.1, "high": 1.0, "log": True},
        "n": {"kind": "choice", "values": [1, 2, 3]},
    },
    "objectives": [{"name": "y", "direction": "max"}],
    "budget": {"trials": 5, "epochs": 3},
}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("name", ["quick", "detnet"])
def test_space_files(guard: Guard, again: Again, tmp_path: Path, name: str) -> None:
    text, path = find_space(name).read_text(), tmp_path / "mine.yaml"

    @given(damaged_text(text))
    def check(changed: str) -> None:
        path.write_bytes(_bytes(changed))
        with guard.example():
            load_space(path)

    again(check)


def test_spaces_of_functions(guard: Guard, again: Again, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"

    @given(st.one_of(damaged(FUNCTION), JUNK).map(json.dumps))
    @example(json.dumps(FUNCTION))
    @example("space: &a {x: *a}")
    @example("a: &a [x, x]\nb: &b [*a, *a]\nspace: [*b, *b]")
    @example("\n".join(["l0: &l0 [x, x]", *(f"l{n}: &l{n} [*l{n - 1}, *l{n - 1}]" for n in range(1, 60))]))
    @example(deep(3000))
    @example("{" * 20_000)
    @example("x: " + "y" * 3_000_000)
    @example("space: !!python/object/apply:os.system ['touch run']")
    @example("space: !!float abc")
    @example("space: {x: {kind: int, low: 1, high: " + "9" * 5000 + "}}")
    @example("extends: mine.yaml")
    @example("extends: ../../../../../../etc/passwd")
    def check(text: str) -> None:
        path.write_bytes(_bytes(text))
        with guard.example():
            load_space(path, function=True)

    again(check)


def test_recipes(guard: Guard, again: Again, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"

    @given(damaged_text("source: x\nextends: lsj\nrecipe:\n  epochs: 3\n  base_lr: 0.1\n  drops: [0.5, 0.9]\n"))
    def check(text: str) -> None:
        path.write_bytes(_bytes(text))
        with guard.example():
            load_recipe(path)

    again(check)


def test_set(guard: Guard, again: Again) -> None:
    paths = [
        *known_paths(),
        "budget.trials",
        "budget",
        "space",
        "points",
        "points.0",
        "fixed.recipe",
        "objectives",
        "data",
    ]
    keys = st.one_of(st.sampled_from([*paths, *(f"space.{p}" for p in known_paths())]), st.text(max_size=12))
    values = st.one_of(JUNK.map(json.dumps), WORDS, st.text(max_size=20), LEAVES.map(str))

    @given(
        st.lists(st.tuples(keys, st.sampled_from(["=", "=", "=", "", " = ", ".x="]), values), min_size=1, max_size=3)
    )
    @example([("space", "=", "null")])
    @example([("points.0", "=", "[" * 20_000)])
    @example([("budget.trials", "=", "9" * 5000)])
    @example([("space.input.size.values", "=", "[.inf, .nan, 1e999]")])
    def check(parts: list[tuple[str, str, str]]) -> None:
        with guard.example():
            load_space("quick", overrides=["".join(part) for part in parts])

    again(check)


def test_constraints(guard: Guard, again: Again) -> None:
    texts = st.lists(
        st.sampled_from(["params_m", "gflops", "<=", "<", ">", " ", "5", "1e9", ".", "1..2", "e", "-", "nan"])
    )

    @given(st.one_of(texts.map("".join), st.text(max_size=20)))
    @example("params_m <= 1.2.3")
    @example("params_m<=" + "9" * 400)
    def check(text: str) -> None:
        with guard.example():
            load_space("quick", overrides=[f"constraints={json.dumps([text])}"])
        with guard.example():
            try:
                Constraint.parse(text)
            except ValueError as error:
                raise InputError(str(error)) from None

    again(check)


def test_pick(guard: Guard, again: Again) -> None:
    objectives = [Objective("ap", "max"), Objective("latency_ms", "min")]
    names = st.sampled_from(["ap", "latency_ms", "params_m", "x"])
    states = st.sampled_from(["complete", "complete", "failed", "paused", "infeasible"])
    values = st.dictionaries(names, st.floats(), max_size=4)
    words = [
        "ap",
        "latency_ms",
        "<",
        "<=",
        ">",
        "=",
        "5",
        "0.5",
        "1e400",
        "nan",
        " and ",
        "best",
        "knee",
        "t0",
        " ",
        "--",
    ]
    rules = st.one_of(st.lists(st.sampled_from(words), max_size=8).map("".join), st.text(max_size=12))

    @given(st.lists(st.tuples(states, values), max_size=4), rules)
    @example([("complete", {})], "knee")
    @example([("complete", {"ap": float("nan"), "latency_ms": float("inf")})], "knee")
    @example([("complete", {"ap": 1.0})], "ap<" + "9" * 400)
    def check(trials: list[tuple[Any, dict[str, float]]], rule: str) -> None:
        records = [TrialRecord(f"t{n}", n, state, {}, None, None, own) for n, (state, own) in enumerate(trials)]
        with guard.example():
            pick(records, objectives, rule)

    again(check)
