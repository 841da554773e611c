"""The Ray Tune side of a trial. One decision: with `reuse_actors` one Tune actor runs job after job on the one worker
group it holds; each Tune trial is one job (a trial up to its next rung), so Tune's state is never needed to resume."""

from __future__ import annotations

import dataclasses
from typing import Any

from ray import tune

from nasdet.trainers.messages import GroupConfig, Reply, TrainJob
from nasdet.trainers.worker_group import FINAL, WorkerGroup

MAX_RESTARTS_OF_A_JOB = 2
"""A job whose group died this often is failed."""


class JobTrainable(tune.Trainable):
    """Runs `config["job"]`; every `step` is one reply of the group, and the last one is `done`."""

    group: WorkerGroup | None = None

    def setup(self, config: dict[str, Any]) -> None:
        """Start the group if this actor has none yet, and submit the job."""
        self.job: TrainJob = config["job"]
        self._restarts = 0
        if self.group is None:
            group: GroupConfig = config["group"]
            self.group = WorkerGroup(
                group, workers=config["workers"], resources=config["resources"], storage=config["storage"]
            )
        self.group.submit(self.job)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next job on the warm group."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the next reply about this job."""
        assert self.group is not None
        reply = self.group.receive()
        while reply.kind == "up" or reply.trial != self.job.trial:
            reply = self._restarted() if reply.kind == "up" else self.group.receive()
        timing = self.group.up.values
        return {
            "reply": dataclasses.asdict(reply),
            "up": timing,
            "done": reply.kind in FINAL,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: the trial's own folder holds its state."""
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: the trial's own folder holds its state."""

    def cleanup(self) -> None:
        """End the group with the actor."""
        if self.group is not None:
            self.group.close()
            self.group = None

    def _restarted(self) -> Reply:
        """The group came back after a crash: go on from the trial's checkpoint, or give the trial up."""
        assert self.group is not None
        self._restarts += 1
        if self._restarts > MAX_RESTARTS_OF_A_JOB:
            return Reply("failed", self.job.trial, reason=f"its worker group died {self._restarts} times")
        self.group.submit(self.job)
        return self.group.receive()
