"""`StudyRuns.sync`: failures in the middle, and content that MLflow refuses."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import pytest

from nasdet.tracking import Front, StudyInfo, quiet_mlflow
from nasdet.tracking.mlflow_runs import Point, StoredRun, StudyRuns
from nasdet.uris import default_uri


def nothing(out: Path) -> None:
    """Draws nothing."""


def info(folder: Path) -> StudyInfo:
    return StudyInfo(folder.name, folder, "detnet", "space: {}", {"seed": 0})


@pytest.mark.parametrize("lost", ["request", "reply"])
def test_a_sync_that_failed_is_repeated_without_doubles(
    study: Any, made: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    given = study(3)
    front = Front(given.summary, given.history, nothing)
    epochs = deque((r.trial, Point("loss", e, 1.0 / e, 1000 * e)) for r in given.records for e in (1, 2, 3))
    with quiet_mlflow():
        from mlflow.tracking import MlflowClient

        write, calls = MlflowClient.log_batch, []

        def fail_now_and_then(self: Any, *args: Any, **values: Any) -> None:
            calls.append(1)
            if lost == "reply" or len(calls) % 2 == 0:
                write(self, *args, **values)
            if len(calls) % 2 == 1:
                raise ConnectionError("lost")

        monkeypatch.setattr(MlflowClient, "log_batch", fail_now_and_then)
        runs, failures = StudyRuns(default_uri(made), info(made), pytest.fail), 0
        for _ in range(20):
            try:
                runs.sync(given.records, epochs, front, "FINISHED")
                break
            except ConnectionError:
                failures += 1
        assert failures >= 3 and all(runs.holds(r, ended=True) for r in given.records)
        client = MlflowClient(default_uri(made))
        found = client.search_runs([client.get_experiment_by_name("detnet").experiment_id])
        assert sorted(r.info.run_name for r in found) == ["digits-1", "t0000", "t0001", "t0002"]
        for run in found:
            assert run.info.status == "FINISHED"
            for name, count in {"loss": 3, "ap": 2, "rank": 1, "hypervolume": 3}.items():
                points = [m.step for m in client.get_metric_history(run.info.run_id, name)]
                assert len(points) == len(set(points)) == (count if name in run.data.metrics else 0), (name, points)


def test_what_mlflow_refuses_is_named_and_the_rest_written(
    study: Any, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = study(3)
    with quiet_mlflow():
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

        write = StoredRun.write

        def refuse(self: StoredRun, client: Any, content: Any) -> None:
            if self.tags.get("nasdet.trial") == "t0001":
                raise MlflowException("too odd", INVALID_PARAMETER_VALUE)
            write(self, client, content)

        monkeypatch.setattr(StoredRun, "write", refuse)
        runs = StudyRuns(default_uri(made), info(made), pytest.fail)
        runs.sync(given.records, deque())
        runs.sync(given.records, deque(), None, "FINISHED")
    assert runs.refused == {"t0001": "too odd"}
    assert runs.holds(given.records[2], ended=True)
