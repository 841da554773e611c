"""The Ray Train worker group that trains trial after trial. One decision: the group is started once (one Ray
Train run whose training function serves jobs until told to stop), because a run per trial costs half a minute each.

The group's holder and rank 0 talk over one TCP connection, which rank 0 opens: a job sent to a group that died is lost
with its connection, and the group that Ray Train starts in its place says "up" on a new one.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import queue
import secrets
import threading
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge
from typing import TYPE_CHECKING, Any, Literal

import ray

from nasdet.trainers.messages import GroupConfig, Reply, TrainJob
from nasdet.trainers.rendezvous import RendezvousConfig, join

if TYPE_CHECKING:
    from nasdet.trainers.full_training import FullJob
    from nasdet.trainers.worker import Runner

STOP: Literal["stop"] = "stop"
IDLE_SECONDS = 600.0
"""So often an idle rank 0 tells the others that it is still there: they wait in a collective, which times out."""
MAX_RESTARTS = 100
"""Deaths of workers after which a group is given up; a search starts another one."""
MAX_STARTS = 10
"""Further attempts, of a minute each, to get the resources for a group: a cluster may have to grow first."""


def serve(config: dict[str, Any]) -> None:
    """Body of every worker: take a job, do it, reply; until the job is "stop".

    Only rank 0 has a connection, and broadcasts what it receives, so that all workers do the same job.
    """
    from ray.train import get_context

    rank = get_context().get_world_rank()
    connect = functools.partial(Client, config["address"], authkey=config["key"])
    connection = connect() if rank == 0 else None
    started, trial = False, ""
    try:
        runner = _start(config, rank, connection)
        started = True
        while (job := runner.ranks.broadcast(_next_job(connection))) != STOP:
            if job is not None:
                trial = job.trial
                runner.run(job)
        runner.ranks.agree()  # none leaves while another one still waits
    except Exception as error:
        from nasdet.trainers.ranks import explain
        from nasdet.trainers.worker import is_lost_peer

        if not (started and is_lost_peer(error)):  # else that one has said why, or was killed and the trial is resumed
            (connection or connect()).send(Reply("failed", trial, reason=f"worker {rank}: {explain(error)}"))
        raise


def _start(config: dict[str, Any], rank: int, connection: Connection | None) -> Runner:
    """Import, join the other workers and open the data; then say "up" with the times of it."""
    entered = time.time()
    gc.disable()  # a tenth of the time of these imports is the collector's, which finds nothing in them
    import torch
    from ray.train import get_context

    from nasdet.trainers.worker import Runner

    gc.freeze()
    gc.enable()
    imported = time.time()
    group: GroupConfig = config["group"]
    join(rank, get_context().get_world_size(), group.device)
    device = torch.device("cuda", torch.cuda.current_device()) if group.device == "cuda" else torch.device("cpu")
    runner = Runner(group, device, connection.send if connection else lambda reply: None)
    timing = {"created": config["created"], "entered": entered, "imported": imported, "ready": time.time()}
    pids = runner.ranks.gather(os.getpid())
    runner.reply(Reply("up", values={**timing, **{f"pid{i}": float(pid) for i, pid in enumerate(pids)}}))
    return runner


def _next_job(connection: Connection | None) -> Any:
    """What rank 0 was sent, or None if that is nothing for a while; the other ranks know nothing."""
    return connection.recv() if connection is not None and connection.poll(IDLE_SECONDS) else None


class WorkerGroup:
    """The trial actor's handle on its group.

    Args:
        config: what the workers need.
        workers: how many train one trial together.
        resources: of each worker, as Ray counts them.
        storage: folder for Ray Train's own state.

    Raises:
        RuntimeError: the group does not start, or Ray is not up: started by the group's thread, it would end with it.
    """

    def __init__(self, config: GroupConfig, *, workers: int, resources: dict[str, float], storage: str) -> None:
        if not ray.is_initialized():
            raise RuntimeError("Ray must be up before a worker group is")
        self._closed = False
        self._key = secrets.token_bytes(32)
        self._listener = Listener((ray.util.get_node_ip_address(), 0))
        self._replies: queue.SimpleQueue[tuple[Connection, Reply]] = queue.SimpleQueue()
        self._error: BaseException | None = None
        arguments = {"group": config, "address": self._listener.address, "key": self._key, "created": time.time()}
        threading.Thread(target=self._listen, daemon=True, name="worker-group-replies").start()
        self._thread = threading.Thread(
            target=self._fit, args=(arguments, workers, resources, storage), daemon=True, name="worker-group"
        )
        self._thread.start()
        self.up = self.receive()

    def submit(self, job: TrainJob | FullJob | Literal["stop"]) -> None:
        """Hand a job to the group whose "up" was received last; lost if that one is dead by now."""
        try:
            self._connection.send(job)
        except OSError:
            return

    def receive(self) -> Reply:
        """The next reply; an "up" reply after the first one means that the group was restarted.

        Raises:
            RuntimeError: the group cannot start, or ended and will not come back.
        """
        while True:
            try:
                connection, reply = self._replies.get(timeout=1.0)
            except queue.Empty:
                if self._thread.is_alive():
                    continue
                raise RuntimeError(f"the worker group ended: {self._error or 'without an error'}") from None
            if reply.kind == "up":
                self.up, self._connection = reply, connection
            if reply.kind == "failed" and not reply.trial:
                raise RuntimeError(f"the workers cannot start: {reply.reason}")
            return reply

    def close(self) -> None:
        """Let the workers end."""
        self.submit(STOP)
        self._thread.join(timeout=10)
        self._closed = True
        self._listener.close()

    def _listen(self) -> None:
        """Take in who calls: rank 0 of every start of the group, and any other rank with bad news."""
        while not self._closed:
            with contextlib.suppress(OSError):
                connection = self._listener.accept()
                threading.Thread(target=self._read, args=(connection,), daemon=True, name="worker-group-reader").start()

    def _read(self, connection: Connection) -> None:
        with contextlib.suppress(EOFError, OSError, AuthenticationError), connection:
            deliver_challenge(connection, self._key)
            answer_challenge(connection, self._key)
            while True:
                self._replies.put((connection, connection.recv()))

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
                    failure_config=FailureConfig(max_failures=MAX_RESTARTS, controller_failure_limit=MAX_STARTS),
                ),
            ).fit()
        except BaseException as error:
            self._error = error
