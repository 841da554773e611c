"""The phases of a study on a worker in this process: what Ray Tune would carry is carried by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nasdet.data import default_cache_root, open_data
from nasdet.driver.observers.progress import Progress
from nasdet.driver.resources import Plan, group_config
from nasdet.driver.study.detector_search import _phases
from nasdet.driver.study.options import TERMINAL
from nasdet.driver.study.ray_tune import Bridge
from nasdet.driver.study.resume import resume_search
from nasdet.driver.study.study_run import StudyRun
from nasdet.search import Finished, StudyStore, summarise
from nasdet.search.records.repeats import RepeatStore
from nasdet.study_config import StudyConfig
from nasdet.trainers.messages import Reply
from nasdet.trainers.worker import Runner
from tests.driver.conftest import tiny_space

PLAN = Plan("cpu", 1, 1, 1)
ONE_EPOCH = ["budget.trials=2", "budget.epochs=1", "budget.rungs=[1]"]


def train(store: StudyStore, terminal: Path) -> list[str]:
    """Run all phases; returns the jobs' trials in order."""
    data = open_data("digits")
    with terminal.open("a") as screen:
        progress = Progress(screen)
        runs = [StudyRun(store, data, PLAN, progress)]
        group = group_config(store.space, PLAN, source="digits", cache_root=default_cache_root())
        bridge = Bridge(_phases(runs, data, PLAN, progress, TERMINAL), PLAN, group, store.dir)
        replies: list[Reply] = []
        runner, trials = Runner(group, torch.device("cpu"), replies.append), list[str]()
        while True:
            name = str(len(trials))
            try:
                config = bridge.suggest(name)
            except Finished:
                break
            assert config is not None
            trials.append(config["job"].trial)
            runner.run(config["job"])
            for reply in replies:
                result = {"reply": dataclasses.asdict(reply), "up": {}}
                bridge.on_trial_result(0, [], SimpleNamespace(trial_id=name), result)
            replies.clear()
            bridge.ended(name)
        assert bridge.error is None
        for run in reversed(runs):
            run.close("FAILED")
    return trials


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_search_then_repeats_then_baseline(tmp_path: Path) -> None:
    space = tiny_space(*ONE_EPOCH)
    config = StudyConfig(study="s", data="digits", wall_seconds=0.0, repeat_front=1, baseline=True)
    store = StudyStore.create(tmp_path / "s", config, space)
    trials = train(store, tmp_path / "terminal")
    summary = summarise(StudyStore.open(tmp_path / "s"))
    front = [m.trial for m in summary.front]
    assert trials[:2] == ["t0000", "t0001"]
    assert trials[2 : 2 + len(front)] == [f"{trial}-seed1" for trial in front]
    assert summary.trials.total == 2 and store.config.finished
    for member in summary.front:
        assert member.values["ap_low"] <= member.values["ap"] <= member.values["ap_high"]
        assert member.repeats.seeds == (1,) and member.repeats.figures["ap"].std is None
    assert summary.baseline.trials.total == len(trials) - 2 - len(front) >= 1
    shown = (tmp_path / "terminal").read_text()
    assert "repeating the front" in shown and "random search with the same budget" in shown

    before = {r.record.trial: r.record for r in RepeatStore(store.dir).all()}
    store = StudyStore.open(tmp_path / "s")
    store.save_config(repeat_front=2)
    assert train(store, tmp_path / "terminal") == [f"{trial}-seed2" for trial in front]
    after = {r.record.trial: r.record for r in RepeatStore(store.dir).all()}
    assert before.items() <= after.items() and len(after) == 2 * len(before)
    again = summarise(store)
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
