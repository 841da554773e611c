"""One worker of a group fails alone, in Python and by kill: only its job fails or is lost, and the group comes back."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from nasdet.trainers.driver_link import STOP
from nasdet.trainers.job_server import JobServer, send
from nasdet.trainers.messages import FINAL, GroupConfig, Reply, TrainJob
from nasdet.trainers.worker_group import GroupRequest, run_group
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


class Handle:
    """A group of two workers, on which one job after another is tried."""

    def __init__(self, config: GroupConfig, folder: Path) -> None:
        self.server = JobServer("127.0.0.1")
        request = GroupRequest(config, 2, {"CPU": 0.5}, str(folder / "ray"), self.server.ticket("g"))
        self.thread = threading.Thread(target=run_group, args=(request,), daemon=True)
        self.thread.start()
        self.connection: Connection | None = None
        self.up = self.receive("up")

    def receive(self, *kinds: str) -> Reply:
        """The next reply of these kinds."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            event = self.server.receive(1.0)
            if event is None or event.reply is None:
                assert self.thread.is_alive()
            elif event.reply.kind in kinds:
                if event.reply.kind == "up":
                    self.connection = event.connection
                return event.reply
        raise AssertionError(f"no reply {kinds}")

    def submit(self, task: TrainJob) -> None:
        assert self.connection is not None
        send(self.connection, task)

    def outcome(self, task: TrainJob) -> Reply:
        self.submit(task)
        return self.receive(*FINAL)

    def close(self) -> None:
        if self.connection is not None:
            send(self.connection, STOP)
        self.thread.join(30)
        self.server.close()


@pytest.fixture
def handle(ray_is_up: None, group: GroupConfig, tmp_path: Path) -> Iterator[Handle]:
    handle = Handle(group, tmp_path)
    yield handle
    handle.close()
    assert not handle.thread.is_alive()


@pytest.mark.timeout(300)
def test_faults_cost_only_their_trial(handle: Handle, tmp_path: Path) -> None:
    first = handle.up
    # all ranks alike: the loss is not finite, and the group lives on
    bad = job(tmp_path, "diverges", optimizer="sgd", base_lr=1e9, clip_norm=0.0, warmup=0.0)
    assert "the loss is not finite" in handle.outcome(bad).reason
    # no rank can build the network
    broken = dataclasses.replace(job(tmp_path, "broken"), spec={**tiny_spec().to_json(), "activation": "none"})
    reply = handle.outcome(broken)
    assert "activation" in reply.reason and not reply.ends
    # one rank is killed while the trial trains: the group comes back, and the trial goes on from its checkpoint
    killed = job(tmp_path, "killed", stop=KILLED_EPOCHS, epochs=KILLED_EPOCHS)
    handle.submit(killed)
    handle.receive("epoch")
    os.kill(int(first.values["pid1"]), signal.SIGKILL)
    handle.up = handle.receive("up")
    assert handle.up.values["pid1"] != first.values["pid1"]
    reply = handle.outcome(killed)
    assert reply.kind == "rung" and reply.epoch == KILLED_EPOCHS
    # one rank alone raises in the middle of a trial: the trial fails with its reason, the group comes back
    reply = handle.outcome(Treacherous(**dataclasses.asdict(job(tmp_path, "treacherous"))))
    assert "worker 1: ValueError: only here" in reply.reason and reply.ends
    handle.receive("up")
    assert handle.outcome(job(tmp_path, "again", stop=1)).kind == "rung"
