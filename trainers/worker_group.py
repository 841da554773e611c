"""The Ray Train worker group that trains trial after trial. One decision: the group is started once (one Ray Train run
whose training function serves jobs until it receives "stop"), because a run per trial costs half a minute each."""

from __future__ import annotations

import dataclasses
import gc
import os
import time
from typing import Any

from nasdet.log import traceback_of
from nasdet.trainers.driver_link import STOP, DriverLink, Link
from nasdet.trainers.job_server import Ticket
from nasdet.trainers.messages import GroupConfig, Reply
from nasdet.trainers.ray_setup import RendezvousConfig, join, trainer_class

MAX_RESTARTS = 100
"""Deaths of workers after which a group is given up; a search starts another one."""
MAX_STARTS = 10
"""Further attempts, of a minute each, to get the resources for a group: a cluster may have to grow first."""


@dataclasses.dataclass(frozen=True)
class GroupRequest:
    """A worker group to be started."""

    config: GroupConfig
    workers: int
    """How many train one trial together."""
    resources: dict[str, float]
    """Of each worker, as Ray counts them."""
    storage: str
    """Folder for Ray Train's own state."""
    ticket: Ticket
    """How its workers reach the driver."""

    def named(self, group: str) -> GroupRequest:
        """The same for a group of this name."""
        return dataclasses.replace(self, ticket=dataclasses.replace(self.ticket, group=group))


def run_group(request: GroupRequest) -> None:
    """Start the group and keep it up until it is told to stop; blocks. Workers that die are started again.

    Raises:
        Exception: of Ray Train: the group cannot start, or its workers died too often.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig

    trainer_class()(
        serve,
        train_loop_config={"request": request, "created": time.time()},
        backend_config=RendezvousConfig(),
        scaling_config=ScalingConfig(
            num_workers=request.workers,
            use_gpu=request.resources.get("GPU", 0) > 0,
            resources_per_worker=request.resources,
        ),
        run_config=RunConfig(
            name=f"group-{os.getpid()}-{time.time_ns()}",
            storage_path=request.storage,
            failure_config=FailureConfig(max_failures=MAX_RESTARTS, controller_failure_limit=MAX_STARTS),
        ),
    ).fit()


class UsedUp(Exception):
    """The workers ran short of memory; Ray Train starts them again."""


def serve(arguments: dict[str, Any]) -> None:
    """Body of every worker: take a job, do it, reply; until the job is "stop".

    Only rank 0 has a connection, and broadcasts what it receives, so that all workers do the same job.
    """
    from ray.train import get_context

    rank, request = get_context().get_world_rank(), arguments["request"]
    link = DriverLink(request.ticket.connect(0)) if rank == 0 else Link()
    started, trial = False, ""
    try:
        runner = _start(request.config, rank, link, arguments["created"])
        started = True
        while (job := runner.ranks.broadcast(link.next_job() if isinstance(link, DriverLink) else None)) != STOP:
            if job is not None:
                trial = job.trial
                if not runner.run(job):
                    raise UsedUp
        runner.ranks.raise_failures()  # a barrier: a rank that left early would look like a lost peer to the others
    except UsedUp:
        raise  # it has been reported
    except Exception as error:
        from nasdet.trainers.worker import is_lost_peer

        # A rank whose peer is gone has nothing to report: the peer has said why, or it was killed and Ray Train starts
        # the group again. Any other rank reports on a connection of its own, since only rank 0 has one already.
        if not (started and is_lost_peer(error)):
            send = link.send if rank == 0 else request.ticket.connect(rank).send
            send(_report(error, rank, trial))
        raise


def _report(error: Exception, rank: int, trial: str) -> Reply:
    from nasdet.trainers.ranks import explain
    from nasdet.trainers.worker import kind_of

    reason = f"worker {rank}: {explain(error)}"
    return Reply(kind_of(error), trial, reason=reason, traceback=traceback_of(error), ends=True, host=this_host())


def this_host() -> str:
    """The address of this machine in the cluster."""
    import ray

    return str(ray.util.get_node_ip_address())


def _start(config: GroupConfig, rank: int, link: Link, created: float) -> Any:
    """Import, join the other workers and open the data; then say "up" with the times of it."""
    entered = time.time()
    gc.disable()  # a tenth of the time of these imports is the collector's, which finds nothing in them
    import torch
    from ray.train import get_context

    from nasdet.torch_settings import keep_freed_memory
    from nasdet.trainers.latency import device_name
    from nasdet.trainers.worker import Runner

    gc.freeze()
    gc.enable()
    imported = time.time()
    torch.set_num_threads(config.threads)
    keep_freed_memory()
    join(rank, get_context().get_world_size(), config.device)
    device = torch.device("cuda", torch.cuda.current_device()) if config.device == "cuda" else torch.device("cpu")
    runner = Runner(config, device, link)
    timing = {"created": created, "entered": entered, "imported": imported, "ready": time.time()}
    pids = runner.ranks.gather(os.getpid())
    timing |= {f"pid{i}": float(pid) for i, pid in enumerate(pids)}
    measures_on = device_name(torch.device(config.latency_device))
    runner.reply(Reply("up", values=timing, host=this_host(), device=measures_on))
    return runner
