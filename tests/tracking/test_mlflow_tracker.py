"""What MLflow holds of a study, read back through `MlflowClient` from a real store."""

from __future__ import annotations

import dataclasses
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nasdet.tracking import (
    Front,
    MlflowTracker,
    StudyInfo,
    mlflow_tracker,
    parent_run_id,
    quiet_mlflow,
    relocate,
    run_ids,
)
from nasdet.uris import default_uri

CONFIG = {"data": "digits", "seed": 0, "budget": {"epochs": 3}}
YAML = "space: {}\n"


class Live:
    """A study that a tracker follows; `records` and `front` are what it looks at."""

    def __init__(self, folder: Path, uri: str | None = None, records: Any = (), **options: Any) -> None:
        self.records, self.front = list(records), None
        info = StudyInfo(folder.name, folder, "detnet", YAML, CONFIG)
        self.tracker = MlflowTracker(uri, info, lambda: self.records, lambda: self.front, seconds=0.05, **options)

    def show(self, *front: Any) -> None:
        self.front = Front(*front)
        self.tracker.front_changed()


def track(study: Any, folder: Path, uri: str | None = None, status: Any = "FINISHED") -> None:
    """Every trial runs, has its epochs and ends; the front changes."""
    unfinished = [r.replace(state="running", values={}, epochs=0, rungs=()) if r.epochs else r for r in study.records]
    live = Live(folder, uri, unfinished)
    for record in study.records:
        for epoch in range(1, record.epochs + 1):
            live.tracker.epoch(record.trial, epoch, {"loss": 1.0 / epoch, "lr": 0.1, "bad": float("nan")})
    live.records = study.records
    live.show(study.summary, study.history, drawn)
    assert live.tracker.close(status) == ""


def undrawn(out: Path) -> None:
    """Leaves no file."""


def drawn(out: Path) -> None:
    """Stands for the driver's pictures."""
    for name in ("pareto.html", "pareto.png"):
        (out / name).write_text("a picture")


def client_of(uri: str) -> Any:
    with quiet_mlflow():
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=uri)


def runs_of(client: Any, name: str = "detnet") -> tuple[Any, dict[str, Any]]:
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    assert len(parents) == 1
    return parents[0], {r.data.tags["nasdet.trial"]: r for r in runs if r is not parents[0]}


def test_everything_is_in_the_store(study: Any, made: Path, tmp_path: Path) -> None:
    folder, given = made, study()
    track(given, folder)
    client = client_of(default_uri(folder))
    parent, trials = runs_of(client)

    assert set(trials) == {"t0000", "t0001", "t0002", "t0003", "t0004"}  # infeasible and duplicate have none
    assert all(run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in trials.values())
    assert run_ids(folder) == {t: r.info.run_id for t, r in trials.items()}
    assert parent_run_id(folder) == parent.info.run_id

    check_best(client, trials["t0000"], given.records[0].spec)
    tags = {
        t: (r.data.tags["nasdet.state"], r.data.tags["nasdet.pareto"], r.data.tags["nasdet.rank"])
        for t, r in trials.items()
    }
    assert tags == {
        "t0000": ("complete", "true", "0"),
        "t0001": ("complete", "true", "0"),
        "t0002": ("complete", "false", "1"),
        "t0003": ("stopped", "false", "none"),
        "t0004": ("failed", "false", "none"),
    }
    ranks = {t: r.data.metrics.get("rank") for t, r in trials.items()}  # a table sorts a tag as text
    assert ranks == {"t0000": 0.0, "t0001": 0.0, "t0002": 1.0, "t0003": None, "t0004": None}
    statuses = {t: r.info.status for t, r in trials.items()}
    assert statuses == {**dict.fromkeys(("t0000", "t0001", "t0002"), "FINISHED"), "t0003": "KILLED", "t0004": "FAILED"}
    assert trials["t0004"].data.tags["nasdet.reason"] == "loss is not finite"

    check_parent(client, parent)
    assert not (tmp_path / "mlruns").exists() and not Path("mlruns").exists()


def check_best(client: Any, best: Any, wanted: Any) -> None:
    assert best.data.tags["nasdet.study"] == "digits-1" and best.data.tags["nasdet.epochs"] == "3"
    assert best.data.params["backbone.block"] == "basic" and len(best.data.params["long"]) == 6000
    assert {k: best.data.metrics[k] for k in ("ap", "latency_ms", "params_m", "gflops")} == {
        "ap": 0.5,
        "latency_ms": 10.0,
        "params_m": 2.5,
        "gflops": 1.25,
    }
    assert [(m.step, m.value) for m in client.get_metric_history(best.info.run_id, "loss")] == [
        (1, 1.0),
        (2, 0.5),
        (3, pytest.approx(1 / 3)),
    ]
    assert [(m.step, m.value) for m in client.get_metric_history(best.info.run_id, "ap")] == [(1, 0.25), (3, 0.5)]
    assert "bad" not in best.data.metrics
    spec = Path(client.download_artifacts(best.info.run_id, "spec.json"))
    assert json.loads(spec.read_text()) == wanted


def check_parent(client: Any, parent: Any) -> None:
    assert parent.info.status == "FINISHED" and parent.data.params["budget.epochs"] == "3"
    sizes = client.get_metric_history(parent.info.run_id, "front_size")
    assert [(m.step, m.value) for m in sizes] == [(1, 1), (2, 2), (3, 2), (4, 2), (5, 2)]
    volumes = client.get_metric_history(parent.info.run_id, "hypervolume")
    assert volumes[-1].value == pytest.approx(0.5 * 10 + 0.3 * 6)
    assert {a.path for a in client.list_artifacts(parent.info.run_id)} == {
        "front.json",
        "pareto.html",
        "pareto.png",
        "space.yaml",
    }
    front = json.loads(Path(client.download_artifacts(parent.info.run_id, "front.json")).read_text())
    assert [m["trial"] for m in front["front"]] == ["t0000", "t0001"]
    note = parent.data.tags["mlflow.note.content"]
    assert "| t0000 |" in note and "nasdet resume" in note and "nasdet export" in note and "nasdet train" in note


def models_of(client: Any) -> dict[str, Any]:
    experiment = client.get_experiment_by_name("detnet")
    return {m.tags["nasdet.trial"]: m for m in client.search_logged_models([experiment.experiment_id])}


def test_members_of_the_front_are_models(study: Any, made: Path) -> None:
    track(study(), made)
    client = client_of(default_uri(made))
    models, (_, trials) = models_of(client), runs_of(client)
    assert set(models) == {"t0000", "t0001"}
    best = models["t0000"]
    assert (str(best.status), best.model_type, best.source_run_id) == ("READY", "detector", trials["t0000"].info.run_id)
    assert best.params["backbone.block"] == "basic"
    values = {m.key: m.value for m in best.metrics}
    assert (values["ap"], values["latency_ms"], values["rank"]) == (0.5, 10.0, 0.0)
    assert f"nasdet export {made} --pick t0000" in best.tags["mlflow.note.content"]
    assert [p.name for p in Path(best.artifact_location).iterdir()] == ["MLmodel"]
    assert not (made / "logs" / "model").exists()
    assert len(client.get_metric_history(trials["t0000"].info.run_id, "latency_ms")) == 1


def test_models_follow_the_front(study: Any, made: Path) -> None:
    given = study()
    alone = given._replace(summary=dataclasses.replace(given.summary, front=given.summary.front[1:]))
    track(alone, made, status="KILLED")
    client = client_of(default_uri(made))
    (first,) = models_of(client).values()
    track(given, made)
    assert set(models_of(client)) == {"t0000", "t0001"}
    assert models_of(client)["t0001"].model_id == first.model_id
    track(alone, made)
    assert set(models_of(client)) == {"t0001"}


def test_resume_continues_the_same_runs_and_repeats_nothing(study: Any, made: Path) -> None:
    folder = made
    track(study(3), folder, status="KILLED")
    client = client_of(default_uri(folder))
    before, first = runs_of(client)
    assert before.info.status == "KILLED"

    track(study(), folder)
    after, second = runs_of(client)
    assert after.info.run_id == before.info.run_id and after.info.status == "FINISHED"
    assert {t: second[t].info.run_id for t in first} == {t: r.info.run_id for t, r in first.items()}
    assert len(client.get_metric_history(second["t0000"].info.run_id, "ap")) == 2
    assert len(client.get_metric_history(after.info.run_id, "hypervolume")) == 5


def test_a_new_study_of_an_old_name_has_its_own_runs(study: Any, made: Path) -> None:
    folder = made
    track(study(1), folder)
    old = parent_run_id(folder)
    shutil.rmtree(folder)
    track(study(1), folder)
    assert parent_run_id(folder) not in ("", old)


def test_a_moved_store_points_at_its_own_artifacts(study: Any, tmp_path: Path, made: Path) -> None:
    before, after = made.parent, tmp_path / "elsewhere" / "studies"
    track(study(), made)
    after.parent.mkdir()
    before.rename(after)
    assert relocate(after / "mlflow.db") == 1 + 1 + 5 + 2  # the experiment, the parent, the trials, the models
    assert relocate(after / "mlflow.db") == 0

    parent, trials = runs_of(client_of(default_uri(after / "digits-1")))
    assert {p.name for p in Path(parent.info.artifact_uri).iterdir()} >= {"pareto.html", "pareto.png", "front.json"}
    assert (Path(trials["t0001"].info.artifact_uri) / "spec.json").is_file()
    models = models_of(client_of(default_uri(after / "digits-1"))).values()
    assert all(Path(m.artifact_location, "MLmodel").is_file() for m in models)
    assert all(Path(m.artifact_location).is_relative_to(after) for m in models)
    assert Path(parent.info.artifact_uri).is_relative_to(after)
    assert Live(after / "digits-1").tracker.close() == ""
    assert runs_of(client_of(default_uri(after / "digits-1")))[0].info.run_id == parent.info.run_id


def test_ranks_follow_the_front(study: Any, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_tracker, "FRONT_SHARE", 1.0)
    given = study(3)
    worst = given.records[2]
    live = Live(made, records=[worst], front_seconds=0.01)
    member = dataclasses.replace(given.summary.front[0], trial=worst.trial, values=worst.values)
    alone = dataclasses.replace(given.summary, front=(member,))
    live.show(alone, given.history[:1], undrawn)
    client = client_of(default_uri(made))

    def tag(trial: str, name: str) -> Any:
        return trial in run_ids(made) and client.get_run(run_ids(made)[trial]).data.tags.get(name)

    wait_until(lambda: tag(worst.trial, "nasdet.pareto") == "true")
    live.records = given.records
    live.show(given.summary, given.history, undrawn)
    # Runs are written one after another: each is waited for, since the first may be seen before the last is there.
    wait_until(lambda: tag(worst.trial, "nasdet.rank") == "1")
    wait_until(lambda: tag(worst.trial, "nasdet.pareto") == "false")
    wait_until(lambda: tag("t0000", "nasdet.pareto") == "true")
    assert live.tracker.close() == ""


def test_what_still_runs_at_the_end_is_killed(study: Any, made: Path) -> None:
    first, second = study(2).records
    live = Live(made, records=[first.replace(state="running"), second.replace(state="paused")])
    assert live.tracker.close("KILLED") == ""
    _, trials = runs_of(client_of(default_uri(made)))
    assert trials["t0000"].info.status == "KILLED" and trials["t0001"].info.status == "SCHEDULED"


def test_a_dead_server_costs_a_warning_and_a_line_at_the_end(study: Any, tmp_path: Path, free_port: int) -> None:
    lines: list[str] = []
    uri = f"http://127.0.0.1:{free_port}"
    given = study()
    live = Live(tmp_path / "digits-1", uri, given.records, warn=lines.append)
    begin = time.perf_counter()
    for _ in range(100):
        live.tracker.epoch("t0000", 1, {"loss": 1.0, "lr": 0.1})
    live.show(given.summary, given.history, undrawn)
    assert time.perf_counter() - begin < 1.0
    missing = live.tracker.close("FAILED")
    assert len(lines) == 1 and "does not answer; the study itself lacks nothing" in lines[0]
    assert "lacks results of digits-1, t0000, t0001 and 3 more runs" in missing and uri in missing


def test_a_front_that_cannot_be_drawn_costs_one_warning(study: Any, made: Path) -> None:
    lines: list[str] = []

    def draw(out: Path) -> None:
        raise RuntimeError("no ink")

    live = Live(made, warn=lines.append)
    live.show(study().summary, study().history, draw)
    assert live.tracker.close() == ""
    client = client_of(default_uri(made))
    assert {a.path for a in client.list_artifacts(runs_of(client)[0].info.run_id)} == {"front.json", "space.yaml"}
    assert lines == ["the front could not be drawn (RuntimeError: no ink)"]


@pytest.mark.timeout(180)
def test_a_server_takes_runs_and_artifacts(study: Any, tmp_path: Path, mlflow_server: str) -> None:
    folder = tmp_path / "studies" / "digits-1"
    track(study(2), folder, uri=mlflow_server)
    client = client_of(mlflow_server)
    parent, trials = runs_of(client)
    assert parent.info.artifact_uri.startswith("mlflow-artifacts:") and len(trials) == 2
    assert "pareto.png" in {a.path for a in client.list_artifacts(parent.info.run_id)}
    assert not (folder.parent / "mlflow.db").exists()


@pytest.fixture
def mlflow_server(
    tmp_path: Path, mlflow_tables: Path, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> Iterator[str]:
    """MLflow's own server application, in a thread."""
    with quiet_mlflow():
        from mlflow import server
        from mlflow.server import constants
        from werkzeug.serving import make_server

    root = tmp_path / "server"
    root.mkdir()
    shutil.copy(mlflow_tables, root)
    monkeypatch.setenv(constants.BACKEND_STORE_URI_ENV_VAR, f"sqlite:///{root}/mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlflow.db")  # the server sets it and leaves it set
    monkeypatch.setenv(constants.ARTIFACT_ROOT_ENV_VAR, "mlflow-artifacts:/")
    monkeypatch.setenv(constants.ARTIFACTS_DESTINATION_ENV_VAR, str(root / "files"))
    monkeypatch.setenv(constants.SERVE_ARTIFACTS_ENV_VAR, "true")
    running = make_server("127.0.0.1", free_port, server.app, threaded=True)
    thread = threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{free_port}"
    running.shutdown()
    thread.join(10)


def wait_until(condition: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
