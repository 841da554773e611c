"""kill -9 of a worker and of the process that holds a group, in a real search with two groups: no trial ends by it, and
no rung is trained twice. `benchmarks/chaos.py` tries everything else."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import chaos
from benchmarks.chaos_faults import SESSIONS
from benchmarks.simulated_cluster import below, end, title
from nasdet.driver.observers.base import Observer
from nasdet.driver.study.detector_search import start_search
from nasdet.driver.study.options import Display, SearchOptions
from nasdet.search import StudyStore
from nasdet.trial import TrialRecord
from tests.driver.conftest import tiny_space

WORKER, HOLDER = ("ray::RayTrainWorker",), ("ray::GroupTrainable", "ray::ResourceTrainable")


class Killer(Observer):
    """Kills a worker after the first epoch and a holder after the first one that follows."""

    def __init__(self) -> None:
        self.rungs: Counter[tuple[str, int]] = Counter()
        self.victims = [WORKER, HOLDER]

    def epoch(self, record: TrialRecord, epoch: int, means: dict[str, float]) -> None:
        if self.victims:
            wanted = self.victims.pop(0)
            end([pid for pid in below(os.getpid()) if title(pid).startswith(wanted)][:1])

    def changed(self, record: TrialRecord, time_left: float) -> None:
        self.rungs[record.trial, record.epochs] += 1


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_worker_and_a_killed_holder_cost_no_trial(ray_is_up: None, tmp_path: Path) -> None:
    killer = Killer()
    space = tiny_space("resources.concurrent=2", "objectives=[{name: ap}, {name: params_m}]")
    summary = start_search(space, SearchOptions(study=tmp_path / "s"), Display((killer,)))
    assert not killer.victims and set(killer.rungs.values()) == {1}
    store = StudyStore.open(tmp_path / "s")
    assert (summary.trials.total, summary.trials.failed) == (3, 0)
    assert all([rung.epochs for rung in r.rungs] in ([1], [1, 2]) for r in store.records())
    assert store.config.group_use is not None and store.config.group_use.started >= 3
    assert not list(store.dir.rglob("*.part"))


def test_every_fault_is_named_and_tried_in_one_search(capsys: pytest.CaptureFixture[str]) -> None:
    chaos.main(["--list"])
    listed = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert all(len(line.split()) > 3 for line in listed.values())
    assert sorted(listed) == sorted(name for session in SESSIONS for name in session.faults)
