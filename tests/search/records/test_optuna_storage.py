"""What is written and read past Optuna's interface is what Optuna itself writes and reads."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import event

from nasdet.errors import InputError
from nasdet.search import SearchSpace, StudyStore, parse_space
from nasdet.search.records.optuna_storage import RECORD, OptunaStorage
from nasdet.study_config import StudyConfig
from nasdet.trial import Rung, TrialRecord

KILLED = 9
"""Exit code of the process that ends in the middle."""
BROKEN = "Optuna's tables have changed: see nasdet/search/records/optuna_storage.py"


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    raw = {
        "space": {"x": {"kind": "float", "low": 0, "high": 1}},
        "objectives": [{"name": "y", "direction": "max"}, {"name": "z", "direction": "min"}],
        "budget": {"trials": 3, "epochs": 2},
    }
    return parse_space(raw, function=True)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory, space: SearchSpace) -> Path:
    path = tmp_path_factory.mktemp("empty") / "optuna.db"
    OptunaStorage.create(f"sqlite:///{path}", "toy", space)
    return path


@pytest.fixture
def storage(empty_database: Path, tmp_path: Path, space: SearchSpace) -> OptunaStorage:
    shutil.copy(empty_database, tmp_path / "optuna.db")
    return OptunaStorage(f"sqlite:///{tmp_path}/optuna.db", "toy", space)


def started(number: int) -> TrialRecord:
    return TrialRecord(f"t{number}", number, "running", {"x": 0.5})


@pytest.mark.parametrize("state", ["complete", "stopped", "failed", "infeasible", "duplicate", "paused"])
def test_optuna_reads_a_trial_as_if_it_had_ended_it_itself(storage: OptunaStorage, state: str) -> None:
    values = {"y": 0.25, "z": 3.0} if state == "complete" else {}
    record = started(0).replace(state=state, values=values, rungs=(Rung(2, values),) if values else ())
    storage.put(started(0))
    storage.put(record)
    storage.put(record.replace(trial="t1", number=1))  # the same in one step, which Optuna's interface can do
    ended, at_once = optuna.load_study(study_name="toy", storage=storage.url).trials
    assert json.loads(ended.user_attrs[RECORD]) == json.loads(json.dumps(record.to_json())), BROKEN
    assert (ended.state, ended.values, ended.params) == (at_once.state, at_once.values, at_once.params), BROKEN
    assert ended.values == ([0.25, 3.0] if state == "complete" else None), BROKEN
    assert ended.state == {"paused": TrialState.RUNNING}.get(state, ended.state)
    assert ended.datetime_start is not None
    assert (ended.datetime_complete is None) == (at_once.datetime_complete is None), BROKEN
    if ended.datetime_complete is not None and at_once.datetime_complete is not None:
        assert abs((ended.datetime_complete - at_once.datetime_complete).total_seconds()) < 60, BROKEN


def test_records_are_selected_as_optuna_reads_them(storage: OptunaStorage, tmp_path: Path, space: SearchSpace) -> None:
    for number in range(3):
        storage.put(started(number))
    storage.put(started(1).replace(state="complete", values={"y": 0.5, "z": 1.0}))
    selected = storage._select(tmp_path / "optuna.db")
    assert selected == storage._load(), BROKEN
    assert [r.state for r in OptunaStorage(storage.url, "toy", space).records] == ["running", "complete", "running"]


def test_a_file_without_the_study_is_left_to_optuna(storage: OptunaStorage, tmp_path: Path) -> None:
    for name, content in (("empty.db", b""), ("text.db", b"no database"), ("missing.db", None)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        assert storage._select(tmp_path / name) is None
    assert not (tmp_path / "missing.db").exists()


@pytest.mark.parametrize("text", ["{", '"a"', '{"trial": "t1", "unknown": 1}'])
def test_a_damaged_record_is_named(storage: OptunaStorage, tmp_path: Path, space: SearchSpace, text: str) -> None:
    for number in range(2):
        storage.put(started(number))
    with sqlite3.connect(tmp_path / "optuna.db") as file:
        change = "UPDATE trial_user_attributes SET value_json = ? WHERE trial_id = 2"
        assert file.execute(change, (json.dumps(text),)).rowcount == 1
    with pytest.raises(InputError, match=r"optuna\.db: the record of trial 1 of study 'toy' is damaged"):
        OptunaStorage(storage.url, "toy", space)


def test_a_crash_between_two_writes_leaves_the_trial_as_it_was(tmp_path: Path, space: SearchSpace) -> None:
    store = StudyStore.create(tmp_path / "toy", StudyConfig(study="toy", data=""), space)
    store.put(started(0))
    for writes, code in ((1, KILLED), (3, KILLED), (4, 0)):  # the attribute, two values, the state
        child = os.fork()
        if child == 0:
            _end_trial(store.dir, writes)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
        state = "complete" if code == 0 else "running"
        assert [r.state for r in StudyStore.open(store.dir).records()] == [state]
        (trial,) = optuna.load_study(study_name="toy", storage=f"sqlite:///{store.dir}/optuna.db").trials
        assert trial.state == (TrialState.COMPLETE if code == 0 else TrialState.RUNNING)
        assert trial.values == ([1.0, 2.0] if code == 0 else None)


def _end_trial(folder: Path, writes: int) -> None:
    """In a process of its own: end the trial, and the process before the write that is one too many."""
    code, left = 1, writes

    def count(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        nonlocal left
        if statement.startswith(("INSERT", "UPDATE")):
            if left == 0:
                os._exit(KILLED)
            left -= 1

    try:
        store = StudyStore.open(folder)
        event.listen(store._storage._storage.engine, "before_cursor_execute", count)
        store.put(store.records()[0].replace(state="complete", values={"y": 1.0, "z": 2.0}))
        code = 0
    finally:
        os._exit(code)
