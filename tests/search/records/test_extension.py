from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from nasdet.search import MemoryStore, SearchSpace, StudyStore, load_space, parse_space, simulate
from nasdet.search.records.extension import More, give_more
from nasdet.search.records.store import Store
from nasdet.search.schedulers import SCHEDULERS
from nasdet.study_config import Limits, StudyConfig
from nasdet.trial import NOT_PROMOTED, OUT_OF_TIME, Rung, TrialRecord
from tests.search.conftest import TOY, accuracy


def searched(store: Store) -> list[TrialRecord]:
    def evaluate(params: dict[str, Any], epochs: int) -> dict[str, float]:
        return {"ap": accuracy(params, epochs)}

    done = simulate(evaluate, store.space, workers=1, costs=lambda p: {"params_m": float(p["size"])}, store=store)
    store.save_config(finished=True, wall_seconds=done.study.engine.elapsed)  # as the driver does; virtual seconds
    return store.records()


def space(kind: str, **budget: Any) -> SearchSpace:
    sampler = {} if kind == "freeze_thaw" else {"sampler": {"kind": "random"}}
    budget = {"epochs": 9, "rungs": [1, 3, 9], **budget}
    return parse_space({**TOY, **sampler, "scheduler": {"kind": kind}, "budget": budget}, function=True)


@pytest.fixture
def ended(tmp_path: Path) -> StudyStore:
    """A study in a folder that has ended."""
    store = StudyStore.create(tmp_path / "s", StudyConfig(study="s", data=""), space("halving", trials=12))
    searched(store)
    return store


MORE = {
    "trials": (More(trials=5), {"trials": 12}),
    "epochs": (More(epochs=30), {"total_epochs": 60}),
    "time_limit": (More(time_limit=30.0), {"time_limit": 60.0}),
    "trials after time": (More(trials=5), {"time_limit": 60.0}),
}


@pytest.mark.parametrize("kind", SCHEDULERS)
@pytest.mark.parametrize(("more", "budget"), MORE.values(), ids=MORE)
def test_a_search_that_ended_goes_on(kind: str, more: More, budget: dict[str, Any]) -> None:
    store = MemoryStore(space(kind, **budget))
    before, point, epochs = searched(store), store.config.reference_point, store.ledger.epochs
    waiting = {r.trial for r in before if r.state == "stopped"}
    give_more(store, more)
    assert {r.trial for r in store.records() if r.state == "paused"} == waiting
    after = searched(store)
    assert store.config.reference_point == point
    assert store.ledger.epochs > epochs
    for old, new in zip(before, after, strict=False):
        assert new.rungs[: len(old.rungs)] == old.rungs and (new.rungs == old.rungs or old.trial in waiting)
    if more.trials:
        assert store.ledger.trained == len([r for r in before if r.state != "duplicate"]) + more.trials
    if more.epochs:
        assert store.ledger.epochs <= epochs + more.epochs
        assert not waiting or any(len(new.rungs) > len(old.rungs) for old, new in zip(before, after, strict=False))


@pytest.mark.parametrize("kind", ["full", "freeze_thaw"])
def test_it_is_the_search_with_the_larger_budget_from_the_start(kind: str) -> None:
    """Where the end of the smaller budget forbids nothing that the larger one would have done."""
    budget = {"epochs": 9, "rungs": [9]}
    store, once = (
        MemoryStore(space(kind, total_epochs=45, **budget)),
        MemoryStore(space(kind, total_epochs=90, **budget)),
    )
    searched(store)
    give_more(store, More(epochs=45))
    assert searched(store) == searched(once)


def test_a_search_that_was_interrupted_keeps_no_other_limit(tmp_path: Path) -> None:
    before = space("halving", trials=12, time_limit=60.0)
    store = StudyStore.create(tmp_path / "s", StudyConfig(study="s", data="", wall_seconds=20.0), before)
    give_more(store, More(time_limit=100.0))
    opened = StudyStore.open(store.dir)
    assert opened.space == store.space and opened.config.limits == Limits(time_limit=120.0)
    assert opened.space.budget == before.budget.model_copy(update={"trials": None, "time_limit": 120.0})


def test_only_what_lost_nothing_goes_on(tmp_path: Path) -> None:
    store = StudyStore.create(tmp_path / "s", StudyConfig(study="s", data=""), load_space("detnet"))
    values = {"ap": 0.5}
    reasons = [NOT_PROMOTED, OUT_OF_TIME, NOT_PROMOTED, OUT_OF_TIME, "its checkpoint made room: resources.disk_gb is 1"]
    for number, reason in enumerate(reasons):
        rungs = (Rung(2, values),) if number != 3 else ()
        record = TrialRecord(f"t{number}", number, "stopped", {}, {}, {}, values, 2 * len(rungs), rungs, reason)
        store.put(record)
        if number != 2:
            store.trial_dir(record.trial).mkdir(parents=True)
            (store.trial_dir(record.trial) / "checkpoint.pt").touch()
    (store.trial_dir("t3") / "checkpoint.pt").unlink()  # it had not trained an epoch
    give_more(store, More(trials=1))
    states = {r.trial: (r.state, r.reason) for r in StudyStore.open(store.dir).records()}
    assert states["t0"] == ("paused", "") and states["t1"] == states["t3"] == ("running", "")
    assert states["t2"] == ("stopped", NOT_PROMOTED) and states["t4"] == ("stopped", reasons[4])


def test_optuna_sees_that_they_go_on(ended: StudyStore) -> None:
    stopped = [r.number for r in ended.records() if r.state == "stopped"]
    assert stopped

    def states() -> set[str]:
        study = optuna.load_study(study_name="s", storage=f"sqlite:///{ended.dir}/optuna.db")
        return {t.state.name for t in study.trials if t.number in stopped}

    store = StudyStore.open(ended.dir)
    give_more(store, More(epochs=1))
    assert states() == {"RUNNING"} and StudyStore.open(ended.dir).records() == store.records()
    searched(store)
    assert states() <= {"PRUNED", "COMPLETE"}


def test_a_trial_that_ended_otherwise_is_not_taken_up(store: StudyStore) -> None:
    store.put(TrialRecord("t0000", 0, "failed", {"x": 0.5, "size": 3, "kind": "a"}, reason="NaN"))
    with pytest.raises(ValueError, match="t0000 is failed, not stopped"):
        store.ledger.reopen("t0000")
