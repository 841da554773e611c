"""A search small enough for tests: three tiny trials of one and two epochs on the built-in digits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nasdet.data import DatasetInfo, open_data
from nasdet.driver.resources import Node, Plan
from nasdet.driver.study import detector_search
from nasdet.driver.study.detector_search import start_search
from nasdet.driver.study.dispatcher import Dispatcher
from nasdet.driver.study.options import SearchOptions
from nasdet.driver.study.study_run import Phase
from nasdet.search import StudyStore
from nasdet.space import SearchSpace, load_space
from nasdet.study_summary import Summary
from nasdet.trainers.driver_link import Link
from nasdet.trainers.job_server import Event
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
    "fixed.input.size=64",
    "resources.threads=1",  # two threads of one operation wait for each other where cores are busy
]


def tiny_space(*more: str) -> SearchSpace:
    return load_space("detnet", overrides=[*TINY, *more])


class Inbox:
    """The driver's end of a connection to a group, which keeps what is sent to it."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def send(self, message: Any) -> None:
        self.messages.append(message)


def tune_here(store: StudyStore, phases: Iterator[Phase], plan: Plan, group: GroupConfig, warn: Any) -> None:
    """In place of Ray Tune and its worker groups: one job after another on a worker in this process."""
    dispatcher, inbox, replies = Dispatcher(phases, lambda: 1), Inbox(), list[Reply]()
    runner = Runner(group, torch.device("cpu"), Link(replies.append))
    assert dispatcher.start_group("here")
    dispatcher.take(Event("here", 0, inbox, Reply("up", host="here")))
    while not dispatcher.over:
        runner.run(inbox.messages.pop(0))
        while replies:
            dispatcher.take(Event("here", 0, inbox, replies.pop(0)))
    if dispatcher.error is not None:
        raise dispatcher.error


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches do their jobs in this process; all else is as with Ray."""
    monkeypatch.setattr(detector_search, "ray_cluster", lambda address: contextlib.nullcontext([Node(1)]))
    monkeypatch.setattr(detector_search, "_tune", tune_here)


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
