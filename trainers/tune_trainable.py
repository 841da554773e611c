"""A worker group as Ray Tune sees it. One decision: a Tune trial is one group that lives as long as the search, because
Tune then starts the groups side by side, replaces those that end, and gives their resources back; trials of the search
reach the group as jobs (`trainers.job_server`)."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from ray import tune

from nasdet.trainers.messages import HOLDER_CPUS, Reply
from nasdet.trainers.ray_setup import has_lean_trainer
from nasdet.trainers.worker_group import GroupRequest, run_group, this_host

SECONDS_BETWEEN_RESULTS = 2.0
"""How often a group tells Tune that it is there; Tune asks then whether it shall go on."""
HOLDER = -1
"""In place of a worker's rank, where the process that holds a group speaks to the driver."""
SECONDS_TO_STOP = 5.0
"""How long workers may take to end by themselves before they end with the process that holds them."""


def group_resources(workers: int, resources: dict[str, float]) -> tune.PlacementGroupFactory:
    """The holder and the workers in one placement group, which Tune removes with the group, whatever ended it. Where
    Ray Train makes another one for the workers, because this release of Ray has changed, only the holder."""
    if not has_lean_trainer():
        return tune.PlacementGroupFactory([{"CPU": HOLDER_CPUS}])
    strategy = "STRICT_PACK" if workers == 1 else "PACK"
    return tune.PlacementGroupFactory([{"CPU": HOLDER_CPUS}, *[dict(resources) for _ in range(workers)]], strategy)


class GroupTrainable(tune.Trainable):
    """Holds the group that `config["request"]` describes."""

    def setup(self, config: dict[str, Any]) -> None:
        """Start the group; blocks nobody."""
        request: GroupRequest = config["request"]
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(request,), daemon=True, name="worker-group")
        self._thread.start()

    def step(self) -> dict[str, Any]:
        """Wait a little.

        Raises:
            RuntimeError: the group cannot start, or ended and will not come back.
        """
        self._thread.join(SECONDS_BETWEEN_RESULTS)
        if self._error is not None:
            raise RuntimeError(f"the worker group ended: {self._error}") from self._error
        return {"done": not self._thread.is_alive()}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: the folder of each trial of the search holds its state."""
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing."""

    def cleanup(self) -> None:
        """Let workers that were told to stop end by themselves; others end with this process, their owner."""
        self._thread.join(SECONDS_TO_STOP)

    def _run(self, request: GroupRequest) -> None:
        try:
            with contextlib.suppress(OSError, EOFError), request.ticket.connect(HOLDER) as connection:
                connection.send(Reply("placed", host=this_host()))
            run_group(request)
        except BaseException as error:
            self._error = error
