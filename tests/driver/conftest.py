"""A search small enough for tests: three tiny trials of one and two epochs on the built-in digits."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nasdet.data import DatasetInfo, open_data
from nasdet.driver.ray_cluster import ray_cluster
from nasdet.driver.resources import Node, Plan
from nasdet.driver.study import detector_search
from nasdet.driver.study.detector_search import start_search
from nasdet.driver.study.options import SearchOptions
from nasdet.driver.study.ray_tune import Bridge
from nasdet.driver.study.study_run import Phase
from nasdet.search import Finished, StudyStore
from nasdet.space import SearchSpace, load_space
from nasdet.study_summary import Summary
from nasdet.trainers.messages import GroupConfig, Reply
from nasdet.trainers.worker import Runner

TINY = [
    "budget.trials=3",
    "budget.epochs=2",
    "budget.rungs=[1, 2]",
    "budget.time_limit=10m",
    "scheduler.eta=2",
    "resources.workers=1",
    "resources.concurrent=1",
    "resources.threads=1",  # two threads of one operation wait for each other where cores are busy
]


def tiny_space(*more: str) -> SearchSpace:
    return load_space("detnet", overrides=[*TINY, *more])


def tune_here(store: StudyStore, phases: Iterator[Phase], plan: Plan, group: GroupConfig) -> None:
    """In place of Ray Tune and its worker group: one job after another on a worker in this process."""
    bridge, replies = Bridge(phases, plan, group, store.dir), list[Reply]()
    runner = Runner(group, torch.device("cpu"), replies.append)
    for number in itertools.count():
        try:
            config = bridge.suggest(str(number))
        except Finished:
            break
        assert config is not None
        runner.run(config["job"])
        for reply in replies:
            result = {"reply": dataclasses.asdict(reply), "up": {}}
            bridge.on_trial_result(0, [], SimpleNamespace(trial_id=str(number)), result)
        replies.clear()
        bridge.ended(str(number))
    if bridge.error is not None:
        raise bridge.error


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches do their jobs in this process; all else is as with Ray."""
    monkeypatch.setattr(detector_search, "ray_cluster", lambda address: contextlib.nullcontext([Node(1)]))
    monkeypatch.setattr(detector_search, "_tune", tune_here)


@pytest.fixture(scope="session")
def ray_is_up() -> Iterator[None]:
    """A Ray of the caller's own, which searches use and leave up; for all tests of the session."""
    with ray_cluster():
        yield


@pytest.fixture(scope="session")
def study(ray_is_up: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyStore, Summary]:
    """One real search, shared by every test that only looks at its outcome."""
    folder: Path = tmp_path_factory.mktemp("studies") / "tiny"
    summary = start_search(tiny_space(), SearchOptions(study=folder))
    return StudyStore.open(folder), summary


@pytest.fixture(scope="session")
def info() -> DatasetInfo:
    """What the built-in digits decide of a detector."""
    return open_data("digits").info
