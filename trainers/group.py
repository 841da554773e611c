"""The Ray Train worker group that trains trial after trial. One decision: the group is started once (one Ray
Train run whose training function serves jobs until told to stop), because a run per trial costs half a minute each."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Literal

import ray

from nasdet.trainers.job import GroupConfig, Reply, TrainJob
from nasdet.trainers.rendezvous import RendezvousConfig, join

if TYPE_CHECKING:
    from nasdet.trainers.full import FullJob

STOP: Literal["stop"] = "stop"
Queue = Literal["jobs", "replies"]


@dataclasses.dataclass(frozen=True)
class Command:
    """A job for the group of one generation: a restarted group drops what was meant for the one before."""

    generation: str
    job: TrainJob | FullJob | Literal["stop"]


@ray.remote(num_cpus=0)
class Mailbox:
    """Two queues between the trial's actor and the workers; lives on whichever side's node."""

    def __init__(self) -> None:
        self._queues: dict[str, asyncio.Queue] = {"jobs": asyncio.Queue(), "replies": asyncio.Queue()}

    async def put(self, queue: Queue, item: Any) -> None:
        """Append."""
        await self._queues[queue].put(item)

    async def get(self, queue: Queue) -> Any:
        """Wait for the next item."""
        return await self._queues[queue].get()


_NOTHING = Command("", STOP)
"""What the other ranks put into a broadcast of rank 0's command."""


def serve(config: dict[str, Any]) -> None:
    """Body of every worker: take a job, do it, reply; until the job is "stop".

    Only rank 0 reads the mailbox and broadcasts what it read, so that all workers do the same job.
    """
    entered = time.time()
    import torch
    import torch.distributed as dist
    from ray.train import get_context

    from nasdet.trainers.runner import Runner, explain

    imported = time.time()
    group: GroupConfig = config["group"]
    box = config["mailbox"]
    rank = get_context().get_world_rank()
    join(rank, get_context().get_world_size(), group.device)
    device = torch.device("cuda", torch.cuda.current_device()) if group.device == "cuda" else torch.device("cpu")
    runner = Runner(group, device, lambda reply: ray.get(box.put.remote("replies", reply)))
    generation = runner.ranks.broadcast(f"{time.time_ns()}")
    pids = runner.ranks.gather(os.getpid())
    timing = {
        "created": config["created"],
        "entered": entered,
        "imported": imported,
        "ready": time.time(),
        **{f"pid{i}": float(pid) for i, pid in enumerate(pids)},
    }
    runner.reply(Reply("up", generation=generation, values=timing))
    while True:
        command: Command = runner.ranks.broadcast(ray.get(box.get.remote("jobs")) if rank == 0 else _NOTHING)
        if command.job == STOP:
            break
        if command.generation != generation:
            continue
        try:
            runner.run(command.job)
        except Exception as error:
            reason = f"worker {rank}: {explain(error)}"
            ray.get(box.put.remote("replies", Reply("failed", command.job.trial, reason=reason)))
            raise
    if dist.is_initialized():
        dist.barrier()


class WorkerGroup:
    """The trial actor's handle on its group.

    Args:
        config: what the workers need.
        workers: how many train one trial together.
        resources: of each worker, as Ray counts them.
        storage: folder for Ray Train's own state.
    """

    def __init__(self, config: GroupConfig, *, workers: int, resources: dict[str, float], storage: str) -> None:
        self._box: Any = Mailbox.remote()  # type: ignore[attr-defined]
        self._error: BaseException | None = None
        arguments = {"group": config, "mailbox": self._box, "created": time.time()}
        self._thread = threading.Thread(
            target=self._fit, args=(arguments, workers, resources, storage), daemon=True, name="worker-group"
        )
        self._thread.start()
        self.up = self.receive()

    def submit(self, job: TrainJob | FullJob) -> None:
        """Hand a job to the group that is up now."""
        ray.get(self._box.put.remote("jobs", Command(self.up.generation, job)))

    def receive(self) -> Reply:
        """The next reply; an "up" reply after the first one means that the group was restarted.

        Raises:
            RuntimeError: the group ended and will not come back.
        """
        pending = self._box.get.remote("replies")
        while True:
            done, _ = ray.wait([pending], timeout=1.0)
            if done:
                reply: Reply = ray.get(done[0])
                if reply.kind == "up":
                    self.up = reply
                return reply
            if not self._thread.is_alive():
                raise RuntimeError(f"the worker group ended: {self._error or 'without an error'}")

    def close(self) -> None:
        """Let the workers end."""
        ray.get(self._box.put.remote("jobs", Command(self.up.generation, STOP)))
        self._thread.join(timeout=10)

    def _fit(self, arguments: dict[str, Any], workers: int, resources: dict[str, float], storage: str) -> None:
        from ray.train import FailureConfig, RunConfig, ScalingConfig

        from nasdet.trainers.lean_trainer import LeanTrainer

        try:
            LeanTrainer(
                serve,
                train_loop_config=arguments,
                backend_config=RendezvousConfig(),
                scaling_config=ScalingConfig(
                    num_workers=workers, use_gpu=resources.get("GPU", 0) > 0, resources_per_worker=resources
                ),
                run_config=RunConfig(
                    name=f"group-{os.getpid()}-{time.time_ns()}",
                    storage_path=storage,
                    failure_config=FailureConfig(max_failures=-1),
                ),
            ).fit()
        except BaseException as error:
            self._error = error
