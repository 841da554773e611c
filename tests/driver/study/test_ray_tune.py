"""The phases of a study on a worker in this process, and the bridge to Ray Tune without Ray."""

from __future__ import annotations

import dataclasses
import io
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from nasdet.driver.observers.base import Observer
from nasdet.driver.resources import Plan
from nasdet.driver.study.detector_search import start_search
from nasdet.driver.study.options import Display, SearchOptions
from nasdet.driver.study.ray_tune import Bridge
from nasdet.driver.study.resume import resume_search
from nasdet.driver.study.study_run import Phase
from nasdet.search import Candidate, Engine, Finished, StudyStore
from nasdet.search.records.repeats import RepeatStore
from nasdet.study_config import StudyConfig
from nasdet.trainers.messages import Reply
from nasdet.trial import TrialRecord
from tests.driver.conftest import tiny_space

ONE_EPOCH = ["budget.trials=2", "budget.epochs=1", "budget.rungs=[1]"]


class Started(Observer):
    """The jobs' trials in order."""

    def __init__(self) -> None:
        self.trials: list[str] = []

    def started(self, record: TrialRecord, stop: int) -> None:
        self.trials.append(record.trial)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_search_then_repeats_then_baseline(without_ray: None, tmp_path: Path) -> None:
    started, terminal = Started(), io.StringIO()
    options = SearchOptions(study=tmp_path / "s", repeat_front=1, baseline=True)
    summary = start_search(tiny_space(*ONE_EPOCH), options, Display((started,), terminal, redirect=False))
    store, trials = StudyStore.open(tmp_path / "s"), started.trials
    front = [m.trial for m in summary.front]
    assert trials[:2] == ["t0000", "t0001"]
    assert trials[2 : 2 + len(front)] == [f"{trial}-seed1" for trial in front]
    assert summary.trials.total == 2 and store.config.finished
    for member in summary.front:
        assert member.values["ap_low"] <= member.values["ap"] <= member.values["ap_high"]
        assert member.repeats.seeds == (1,) and member.repeats.figures["ap"].std is None
    assert summary.baseline.trials.total == len(trials) - 2 - len(front) >= 1
    shown = terminal.getvalue()
    assert "repeating the front" in shown and "random search with the same budget" in shown

    before = {r.record.trial: r.record for r in RepeatStore(store.dir).all()}
    started = Started()
    again = resume_search(StudyStore.open(tmp_path / "s"), 2, display=Display((started,), terminal, redirect=False))
    assert started.trials == [f"{trial}-seed2" for trial in front]
    after = {r.record.trial: r.record for r in RepeatStore(store.dir).all()}
    assert before.items() <= after.items() and len(after) == 2 * len(before)
    for key in ("trials", "hypervolume", "wall_seconds", "reference_point", "baseline"):
        assert getattr(again, key) == getattr(summary, key)


def test_a_finished_study_with_nothing_left_starts_no_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = StudyConfig(study="s", data="digits", wall_seconds=0.0, finished=True)
    store = StudyStore.create(tmp_path / "s", config, tiny_space())
    monkeypatch.setattr(
        "nasdet.driver.study.detector_search.ray_cluster", lambda address: pytest.fail("Ray was started")
    )
    assert resume_search(store, repeat_front=3, baseline=False).front == ()  # no member to repeat
    assert StudyStore.open(store.dir).config.repeat_front == 3


@pytest.fixture
def bridge(tmp_path: Path) -> Bridge:
    space = tiny_space("objectives=[{name: ap}, {name: params_m}]")
    store = StudyStore.create(tmp_path / "s", StudyConfig(study="s", data="digits"), space)
    recipe = {"epochs": 2}
    engine = Engine(store, lambda params: Candidate({}, recipe, {"params_m": 1.0, "gflops": 1.0}))
    return Bridge(iter([Phase(engine, Observer())]), Plan("cpu", 1, 1, 1), None, store.dir)  # type: ignore[arg-type]


def send(bridge: Bridge, name: str, reply: Reply) -> None:
    bridge.on_trial_result(0, [], SimpleNamespace(trial_id=name), {"reply": dataclasses.asdict(reply), "up": {}})


def test_nothing_is_recorded_after_an_interruption(bridge: Bridge) -> None:
    config = bridge.suggest("a")
    assert config is not None
    store, trial = bridge.phase.jobs.store, config["job"].trial
    before = store.get(trial)
    bridge.interrupt()
    send(bridge, "a", Reply("rung", trial, 1, {"ap": 0.5}))
    send(bridge, "a", Reply("failed", trial, reason="its workers were ended"))
    bridge.ended("a")
    assert store.get(trial) == before and before.state == "running"
    with pytest.raises(Finished):
        bridge.suggest("b")


def test_a_reply_about_another_trial_is_passed_over(bridge: Bridge) -> None:
    config = bridge.suggest("a")
    assert config is not None
    store, trial = bridge.phase.jobs.store, config["job"].trial
    before = store.get(trial)
    send(bridge, "a", Reply("failed", "t9999", reason="late news of the job before"))
    assert store.get(trial) == before
    send(bridge, "a", Reply("failed", trial, reason="out of memory"))
    assert store.get(trial).state == "failed"


def test_an_interruption_waits_for_the_reply_that_is_being_recorded(bridge: Bridge) -> None:
    config = bridge.suggest("a")
    assert config is not None
    trial, entered, go_on, order = config["job"].trial, threading.Event(), threading.Event(), list[str]()

    class Slow(Observer):
        def changed(self, record: TrialRecord, time_left: float) -> None:
            entered.set()
            go_on.wait(5)
            order.append("recorded")

    bridge.phase = dataclasses.replace(bridge.phase, observer=Slow())
    sender = threading.Thread(target=send, args=(bridge, "a", Reply("rung", trial, 1, {"ap": 0.5})))
    sender.start()
    assert entered.wait(5)
    threading.Timer(0.2, go_on.set).start()
    bridge.interrupt()
    order.append("interrupted")
    sender.join()
    assert order == ["recorded", "interrupted"]


def test_a_failed_trial_leaves_its_traceback_in_the_log(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    config = bridge.suggest("a")
    assert config is not None
    trial = config["job"].trial
    send(bridge, "a", Reply("failed", trial, reason="ValueError: no", traceback="Traceback: in a worker"))
    assert bridge.phase.jobs.store.get(trial).reason == "ValueError: no"
    assert "Traceback: in a worker" in caplog.text
