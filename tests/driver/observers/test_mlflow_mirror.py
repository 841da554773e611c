"""What MLflow gets of a study, without training."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from nasdet.driver.observers.mlflow_mirror import MlflowMirror, write_missing
from nasdet.search import StudyStore, parse_space
from nasdet.study_config import StudyConfig
from nasdet.tracking import mirror_state, note_mirror, run_ids
from nasdet.trial import Rung, TrialRecord
from nasdet.uris import default_uri

SPACE = {
    "name": "toy",
    "space": {"x": {"kind": "float", "low": 0.0, "high": 1.0}},
    "objectives": [{"name": "ap", "direction": "max"}, {"name": "cost", "direction": "min"}],
    "budget": {"epochs": 2, "seed": 0},
}


def record(number: int, ap: float, cost: float, state: Any = "complete") -> TrialRecord:
    values = {"ap": ap, "cost": cost}
    trial = f"t{number:04d}"
    return TrialRecord(trial, number, state, {"x": ap}, values=values, epochs=2, rungs=(Rung(2, values, number),))


@pytest.fixture
def store(tmp_path: Path, mlflow_tables: Path) -> StudyStore:
    shutil.copy(mlflow_tables, tmp_path)
    made = StudyStore.create(tmp_path / "s", StudyConfig(study="s", data=""), parse_space(SPACE, function=True))
    made.save_config(reference_point=[0.0, 10.0])
    return made


def held(store: StudyStore) -> tuple[Any, Any, dict[str, Any]]:
    """The client, the study's run, and the trials' by name."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(default_uri(store.dir))
    runs = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
    parent = next(r for r in runs if "nasdet.trial" not in r.data.tags)
    return client, parent, {r.data.tags["nasdet.trial"]: r for r in runs if r is not parent}


def test_front_and_ranks_are_written_at_the_end(store: StudyStore) -> None:
    tracking = MlflowMirror(store, pytest.fail)
    given = [record(0, 0.2, 2.0), record(1, 0.1, 5.0), record(2, 0.5, 4.0), record(3, 0.9, 1.0, "failed")]
    for one in given:
        store.put(one.replace(state="running", epochs=0, rungs=(), values={}))
        tracking.epoch(store.get(one.trial), 1, {"loss": 1.0})
        store.put(one)
        tracking.changed(one, 1e9)
    tracking.close("FINISHED")
    client, parent, trials = held(store)
    ranks = {t: (r.data.metrics.get("rank"), r.data.tags["nasdet.rank"]) for t, r in trials.items()}
    assert ranks == {"t0000": (0, "0"), "t0001": (1, "1"), "t0002": (0, "0"), "t0003": (None, "none")}
    volumes = [(m.step, m.value) for m in client.get_metric_history(parent.info.run_id, "hypervolume")]
    assert volumes == [(n, pytest.approx(v)) for n, v in [(1, 1.6), (2, 1.6), (3, 3.4), (4, 3.4)]]
    assert {a.path for a in client.list_artifacts(parent.info.run_id)} >= {"pareto.html", "pareto.png", "front.json"}
    assert "2 on the front" in parent.data.tags["mlflow.note.content"] and mirror_state(store.dir) == "whole"


def test_an_interrupted_mirror_is_completed_without_doubles(store: StudyStore) -> None:
    for one in (record(0, 0.2, 2.0), record(1, 0.1, 5.0)):
        store.put(one)
    store.save_config(finished=True)
    write_missing(store)
    before = run_ids(store.dir)
    note_mirror(store.dir, "lacking")
    write_missing(store)
    client, parent, trials = held(store)
    assert run_ids(store.dir) == before and set(trials) == {"t0000", "t0001"}
    assert parent.info.status == "FINISHED"
    for trial, rank in (("t0000", 0.0), ("t0001", 1.0)):
        assert [m.value for m in client.get_metric_history(before[trial], "rank")] == [rank]
        assert [m.value for m in client.get_metric_history(before[trial], "ap")] == [store.get(trial).values["ap"]]
