"""The same seed gives the same study, bit for bit: in another run, in another process, with eight workers, and with one
worker also when the process is killed at any moment and the study continues from its folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nasdet.search import Candidate, Engine, Finished, MemoryStore, StudyStore, simulate
from nasdet.search.records.store import Store
from nasdet.space import SearchSpace
from nasdet.study_config import StudyConfig
from nasdet.trial import TrialRecord
from tests.search.conftest import TOY, accuracy, toy

FEW = {
    "x": {"kind": "choice", "values": [0.15, 0.5, 0.7]},
    "size": {"kind": "int", "low": 20, "high": 50, "step": 10},
    "kind": {"kind": "choice", "values": ["a", "b"]},
}
"""Eight candidates are good: the search ends when nothing is new."""
CASES: dict[str, dict[str, Any]] = {
    "freeze_thaw": {"scheduler": {"kind": "freeze_thaw"}, "points": [{"size": 45}, {"x": 0.6, "size": 20}]},
    "freeze_thaw few": {"scheduler": {"kind": "freeze_thaw"}, "space": FEW},
    "halving tpe": {"sampler": {"kind": "tpe"}},
    "halving random few": {"sampler": {"kind": "random"}, "space": FEW},
    "halving qmc": {"sampler": {"kind": "qmc"}},
    "full nsga2": {"scheduler": {"kind": "full"}, "sampler": {"kind": "nsga2"}},
    "full nsga3": {"scheduler": {"kind": "full"}, "sampler": {"kind": "nsga3"}},
    "full gp": {"scheduler": {"kind": "full"}, "sampler": {"kind": "gp"}, "budget": {**TOY["budget"], "trials": 11}},
}
"""Every scheduler and every sampler."""
SLOW = ("full gp", "freeze_thaw few")
SHOWN = [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in CASES]
KILLED = [n if n in ("freeze_thaw", "halving tpe") else pytest.param(n, marks=pytest.mark.slow) for n in CASES]
"""What depends on records and seed alone, as is shown for all, goes on from a folder as these do."""


def evaluate(params: dict[str, Any], epochs: int) -> dict[str, float]:
    if 0.1 < params["x"] < 0.2:
        raise RuntimeError("out of memory")
    return {"ap": accuracy(params, epochs)}


def costs(params: dict[str, Any]) -> dict[str, float]:
    return {"params_m": float(params["size"])}


def searched(space: SearchSpace, *, workers: int = 1, store: Store | None = None) -> list[TrialRecord]:
    return simulate(evaluate, space, workers=workers, costs=costs, store=store).study.records


def text(records: list[TrialRecord]) -> list[str]:
    """Everything that is known; simulated seconds are part of it."""
    return [json.dumps(r.to_json()) for r in records]


def short(case: dict[str, Any]) -> SearchSpace:
    """Just long enough for a model to decide several times."""
    return toy(**{"budget": {**TOY["budget"], "trials": 13}, **case})


class Ends(BaseException):
    """The process is killed."""


MANY = 1_000_000
"""Writes: more than there are."""


class Mortal(StudyStore):
    """A study whose process is killed before its write number `left`."""

    left = 0

    def put(self, record: TrialRecord) -> None:
        self._count_down()
        super().put(record)

    def save_config(self, **changes: Any) -> None:
        self._count_down()
        super().save_config(**changes)

    def _count_down(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Ends


def reopened(folder: Path, space: SearchSpace, left: int) -> Mortal:
    store = Mortal.open(folder)
    assert (store.space.parameters, store.space.raw) == (space.parameters, space.raw)
    store.space, store.left = space, left  # the bound of the toy space is not in its YAML
    return store


@pytest.mark.parametrize("name", KILLED)
def test_a_study_killed_at_any_moment_continues_as_an_uninterrupted_one(name: str, tmp_path: Path) -> None:
    space, rng = short(CASES[name]), random.Random(name)
    for folder in ("whole", "broken"):
        StudyStore.create(tmp_path / folder, StudyConfig(study=folder, data=""), space)
    whole = reopened(tmp_path / "whole", space, MANY)
    expected, writes = text(searched(space, store=whole)), MANY - whole.left
    for left in (*(rng.randrange(1, writes // 2) for _ in range(3)), MANY):
        with contextlib.suppress(Ends):
            searched(space, store=reopened(tmp_path / "broken", space, left))
    assert text(StudyStore.open(tmp_path / "broken").records()) == expected


@pytest.mark.parametrize("name", SHOWN)
def test_the_same_seed_gives_the_same_study_and_another_one_does_not(name: str) -> None:
    space = short(CASES[name])
    once, twice = (text(searched(space, workers=8)) for _ in range(2))
    assert once == twice
    assert once != text(searched(space.with_budget(seed=2), workers=8))


def test_another_process_gives_the_same_study() -> None:
    env = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-m", __name__], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == digests()


def digests() -> str:
    """One line for each scheduler."""
    shown = ("freeze_thaw", "halving tpe")
    found = {name: text(searched(short(CASES[name]), workers=3)) for name in shown}
    return "".join(f"{name} {hashlib.sha256(str(lines).encode()).hexdigest()}\n" for name, lines in found.items())


def test_scores_noted_before_training_change_nothing_else(tmp_path: Path) -> None:
    space = short({"scheduler": {"kind": "freeze_thaw"}})
    plain = scored(MemoryStore(space), {})
    folder = tmp_path / "s"
    StudyStore.create(folder, StudyConfig(study="s", data=""), space)
    for left in (37, MANY):
        with contextlib.suppress(Ends):
            found = scored(reopened(folder, space, left), {"score_entropy": 1.0})
    assert all(r.values["score_entropy"] == 1.0 for r in found if r.rungs)
    assert [(r.params, r.state, r.epochs) for r in found] == [(r.params, r.state, r.epochs) for r in plain]


def scored(store: Store, scores: dict[str, float]) -> list[TrialRecord]:
    engine = Engine(store, lambda params: Candidate(None, None, costs(params)), cheap_build=True)
    while True:
        engine.fix_reference()
        try:
            job = engine.next_job()
        except Finished:
            engine.close()
            return store.records()
        assert job is not None
        engine.note_costs(job.record.trial, scores)
        try:
            values = evaluate(job.params, job.stop)
        except RuntimeError as error:
            engine.fail(job.record.trial, str(error))
            continue
        engine.report(job.record.trial, job.stop, values, seconds=1.0, overhead=0.0)


if __name__ == "__main__":
    print(digests(), end="")
