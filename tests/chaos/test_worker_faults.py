"""One worker of a group fails alone, in Python and by kill: only its trial is failed or resumed."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import ray
import torch.distributed as dist

from nasdet.trainers.messages import GroupConfig, Reply, TrainJob
from nasdet.trainers.worker_group import WorkerGroup
from tests.trainers.conftest import group as group_fixture
from tests.trainers.conftest import tiny_recipe, tiny_spec

pytestmark = pytest.mark.ray
group = group_fixture
KILLED_EPOCHS = 8
"""More than can be over before the kill arrives."""


class Treacherous(TrainJob):
    """Raises on worker 1 alone, while worker 0 goes on into a collective."""

    def __getattribute__(self, name: str) -> Any:
        if name == "stop" and dist.is_initialized() and dist.get_rank() == 1:
            raise ValueError("only here")
        return super().__getattribute__(name)


def job(tmp_path: Path, name: str, stop: int = 2, **recipe: Any) -> TrainJob:
    return TrainJob(
        trial=name,
        spec=tiny_spec(kind="syncbn").to_json(),
        recipe=tiny_recipe(**recipe).to_json(),
        seed=0,
        stop=stop,
        folder=str(tmp_path / name),
        measure_latency=False,
    )


def outcome(handle: WorkerGroup, task: TrainJob) -> list[Reply]:
    """Replies until the job is over; a restarted group is given the job again."""
    replies: list[Reply] = []
    while not replies or replies[-1].kind not in ("rung", "failed"):
        reply = handle.receive()
        if reply.kind == "up":
            handle.submit(task)
        replies.append(reply)
    return replies


@pytest.mark.timeout(300)
def test_faults_cost_only_their_trial(ray_instance: None, group: GroupConfig, tmp_path: Path) -> None:
    resources = {"CPU": 0.5}
    handle = WorkerGroup(group, workers=2, resources=resources, storage=str(tmp_path / "ray"))
    try:
        first = handle.up
        # all ranks alike: the loss is not finite
        bad = job(tmp_path, "diverges", optimizer="sgd", base_lr=1e9, clip_norm=0.0, warmup=0.0)
        handle.submit(bad)
        assert "the loss is not finite" in outcome(handle, bad)[-1].reason
        # the group lives on
        good = job(tmp_path, "good", stop=1)
        handle.submit(good)
        assert outcome(handle, good)[-1].kind == "rung"
        assert handle.up is first
        # one rank is killed while the trial trains: it is resumed on a new group
        killed = job(tmp_path, "killed", stop=KILLED_EPOCHS, epochs=KILLED_EPOCHS)
        handle.submit(killed)
        assert handle.receive().kind == "epoch"
        os.kill(int(handle.up.values["pid1"]), signal.SIGKILL)
        replies = outcome(handle, killed)
        assert [r.kind for r in replies if r.kind == "up"] == ["up"]
        assert replies[-1].kind == "rung" and replies[-1].epoch == KILLED_EPOCHS
        assert handle.up is not first
        # one rank alone raises in the middle of a trial: the trial fails with its reason, the next one trains
        treacherous = Treacherous(**dataclasses.asdict(job(tmp_path, "treacherous")))
        handle.submit(treacherous)
        assert "worker 1: ValueError: only here" in outcome(handle, treacherous)[-1].reason
        assert handle.receive().kind == "up"
        # no rank can build the network: the trial fails, and the next one trains
        broken = dataclasses.replace(job(tmp_path, "broken"), spec={**tiny_spec().to_json(), "activation": "none"})
        handle.submit(broken)
        assert "activation" in outcome(handle, broken)[-1].reason
        again = job(tmp_path, "again", stop=1)
        handle.submit(again)
        assert outcome(handle, again)[-1].kind == "rung"
    finally:
        handle.close()


def test_a_group_starts_no_ray_of_its_own(group: GroupConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be the child of the group's thread, and the kernel ends it with that thread."""
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(RuntimeError, match="Ray must be up"):
        WorkerGroup(group, workers=1, resources={"CPU": 1}, storage=str(tmp_path))
