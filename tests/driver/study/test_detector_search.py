from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nasdet.cli import eval as eval_command
from nasdet.cli import export, pareto, status
from nasdet.driver.observers.base import Observer, Observers
from nasdet.driver.observers.progress import Progress
from nasdet.driver.study.detector_search import check_search, start_search
from nasdet.driver.study.options import Interrupted, SearchOptions
from nasdet.driver.study.resume import resume_search
from nasdet.errors import InputError
from nasdet.search import StudyStore, summarise
from nasdet.trial import TrialRecord
from tests.driver.conftest import tiny_space

pytestmark = pytest.mark.ray
Study = tuple[StudyStore, dict[str, Any]]


def invoke(command: Any, *arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    return dict(json.loads(result.stdout))


def test_the_public_json(study: Study) -> None:
    _, summary = study
    assert summary.study == "tiny" and summary.space == "detnet" and summary.data == "digits"
    assert summary.trials.total == 3
    assert summary.trials.complete >= 1
    assert [o.name for o in summary.objectives] == ["ap", "latency_ms", "params_m"]
    assert len(summary.reference_point) == 3 and summary.reference_point[0] == 0
    for member in summary.front:
        assert {"ap", "ap50", "latency_ms", "params_m", "gflops"} <= member.values.keys()
        assert member.recipe["epochs"] == 2
        assert member.mlflow_run_id
    assert summary.wall_seconds > 0
    assert 0 < summary.overhead_seconds_per_trial < 60


def test_a_ray_of_the_callers_own_is_left_up(study: Study) -> None:
    import ray

    assert ray.is_initialized()


def test_the_plan_is_stored(study: Study) -> None:
    store, _ = study
    plan = store.config.plan
    assert plan.device in ("cpu", "cuda") and (plan.workers, plan.concurrent) == (1, 1)
    assert store.config.latency["device"] == plan.device and store.config.latency["batch"] == 1
    assert store.config.latency["threads"] >= 1


def test_every_norm_is_tried(study: Study) -> None:
    store, _ = study
    norms = {r.spec["norm"]["kind"] for r in store.records() if r.spec}
    assert norms == {"bn", "gn"}  # synchronised over one worker is bn


def test_mlflow_holds_what_is_promised(study: Study) -> None:
    from mlflow.tracking import MlflowClient

    store, summary = study
    client = MlflowClient(summary.tracking_uri)
    experiment = client.get_experiment_by_name("detnet")
    runs = client.search_runs([experiment.experiment_id])
    parent = next(r for r in runs if "mlflow.parentRunId" not in r.data.tags)
    nested = {r.data.tags["nasdet.trial"]: r for r in runs if "mlflow.parentRunId" in r.data.tags}
    assert parent.data.metrics["front_size"] == len(summary.front)
    assert parent.data.metrics["hypervolume"] == pytest.approx(summary.hypervolume)
    artifacts = {f.path for f in client.list_artifacts(parent.info.run_id)}
    assert {"front.json", "pareto.html", "pareto.png", "space.yaml"} <= artifacts
    front = {m.trial for m in summary.front}
    for record in store.records():
        run = nested[record.trial]
        assert run.data.tags["nasdet.study"] and run.data.tags["nasdet.state"] == record.state
        assert run.data.tags["nasdet.pareto"] == str(record.trial in front).lower()
        assert run.data.tags["nasdet.epochs"] == str(record.epochs)
        assert "nasdet.rank" in run.data.tags or record.state != "complete"
        for name in ("ap", "latency_ms", "params_m", "gflops"):
            assert run.data.metrics[name] == pytest.approx(record.values[name])
        assert run.data.params["recipe.base_lr"]
        for name in ("loss", "positive_ratio"):
            assert len(client.get_metric_history(run.info.run_id, name)) == record.epochs


def test_export_then_eval_gives_the_recorded_ap(study: Study, tmp_path: Path) -> None:
    store, summary = study
    best = max(summary.front, key=lambda m: m.values["ap"])
    told = invoke(export.command, str(store.dir), "--pick", "best", "--out", str(tmp_path / "best"))
    assert told["trial"] == best.trial
    figures = invoke(eval_command.command, str(tmp_path / "best"), "--data", "digits")
    assert figures["ap"] == pytest.approx(best.values["ap"], abs=1e-4)
    assert figures["images"] == 150 and figures["images_per_second"] > 0


def test_status_and_pareto_print_the_same_object(study: Study) -> None:
    store, summary = study
    for command in (status.command, pareto.command):
        assert invoke(command, str(store.dir))["front"] == summary.to_json()["front"]
    profile = invoke(status.command, str(store.dir), "--profile")["profile"]
    assert 0 < profile["group_start_seconds"] < 120


def test_only_weights_that_can_be_picked_are_kept(study: Study) -> None:
    store, summary = study
    kept = {p.parent.name for p in store.dir.glob("trials/*/weights.safetensors")}
    complete = {r.trial for r in store.records() if r.state == "complete"}
    assert {m.trial for m in summary.front} <= kept <= complete
    left = {p.parent.name for p in store.dir.glob("trials/*/checkpoint.pt")}
    assert left == {r.trial for r in store.records() if r.ended_with_search}  # they go on if the search gets more
    assert not (store.dir / "ray").exists()


def test_a_finished_study_is_returned_as_it_is(study: Study) -> None:
    store, summary = study
    assert resume_search(store.dir).front == summary.front


def test_a_moved_study_opens(study: Study, tmp_path: Path) -> None:
    store, summary = study
    moved = tmp_path / "moved" / "tiny"
    shutil.copytree(store.dir, moved)
    assert summarise(StudyStore.open(moved)).front[0].values == summary.front[0].values


def test_what_is_wrong_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no data set; add --data SRC"):
        check_search(load_quick(), SearchOptions())
    with pytest.raises(InputError, match="workers per trial but only"):
        start_search(tiny_space("resources.workers=999"), SearchOptions(study=tmp_path / "s"))


def fail_with(error: BaseException) -> Any:
    def ray_cluster(address: str | None) -> None:
        raise error

    return ray_cluster


def test_a_failed_start_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasdet.driver.study.detector_search.ray_cluster", fail_with(InputError("cannot reach Ray")))
    options = SearchOptions(study=tmp_path / "s", address="auto", storage="sqlite:///shared.db")
    for _ in range(2):  # the corrected command may use the same folder and the same name
        with pytest.raises(InputError, match="cannot reach Ray"):
            start_search(tiny_space(), options)
        assert not (tmp_path / "s").exists()
    assert not (tmp_path / "mlflow.db").exists()


def test_ctrl_c_while_ray_starts_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasdet.driver.study.detector_search.ray_cluster", fail_with(KeyboardInterrupt()))
    with pytest.raises(Interrupted, match=f"Go on with: nasdet resume {tmp_path}/s"):
        start_search(tiny_space(), SearchOptions(study=tmp_path / "s", tracking_uri="sqlite:///x.db"))
    assert StudyStore.open(tmp_path / "s").config.tracking_uri == f"sqlite:///{tmp_path.resolve()}/x.db"


class Failing(Observer):
    """An observer that can do nothing."""

    def started(self, record: TrialRecord, stop: int) -> None:
        raise OSError("no space left on device")

    def epoch(self, record: TrialRecord, epoch: int, means: dict[str, float]) -> None:
        raise OSError("no space left on device")

    def changed(self, record: TrialRecord, time_left: float) -> None:
        raise SystemExit(1)


def test_an_observer_that_fails_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record, lines = TrialRecord("t0", 0, "failed", {}, reason="cannot read [/data/a.png] [bold]"), []
    with (tmp_path / "terminal").open("w") as terminal:
        observers = Observers(Failing(), Progress(terminal), warn=lines.append)
        observers.started(record, 1)
        observers.epoch(record, 1, {"loss": 1.0})
        observers.changed(record, 60.0)
    assert lines == ["Failing failed, the search goes on (OSError: no space left on device)"]
    assert [r.exc_info[0] for r in caplog.records if r.exc_info] == [OSError]
    assert "t0  failed: cannot read [/data/a.png] [bold]" in (tmp_path / "terminal").read_text()


def load_quick() -> Any:
    from nasdet.space import load_space

    return load_space("quick")
