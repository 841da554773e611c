"""The Ray Train worker group that trains trial after trial. One decision: the group is started once (one Ray Train run
whose training function serves jobs until it receives "stop"), because a run per trial costs half a minute each.

The actor that holds the group and rank 0 talk over one TCP connection, which rank 0 opens. A job sent to a group that
has died is lost with its connection; the group that Ray Train starts in its place says "up" on a new one.
"""

from __future__ import annotations

import contextlib
import gc
import hmac
import os
import queue
import secrets
import threading
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import TYPE_CHECKING, Any, Literal

import ray

from nasdet.log import logger, traceback_of
from nasdet.trainers.messages import GroupConfig, Reply, TrainJob
from nasdet.trainers.ray_setup import RendezvousConfig, join, trainer_class

if TYPE_CHECKING:
    from nasdet.trainers.full_training import FullJob
    from nasdet.trainers.worker import Runner

STOP: Literal["stop"] = "stop"
FINAL = ("rung", "failed", "infeasible")
"""Kinds of replies that end a job."""
IDLE_SECONDS = 600.0
"""Interval at which an idle rank 0 broadcasts nothing: the others wait in a collective, which would time out."""
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

    def connect() -> Connection:
        connection = Client(config["address"])
        authenticate(connection, config["key"], b"worker", b"group")
        return connection

    connection = connect() if rank == 0 else None
    started, trial = False, ""
    try:
        runner = _start(config, rank, connection)
        started = True
        while (job := runner.ranks.broadcast(_next_job(connection))) != STOP:
            if job is not None:
                trial = job.trial
                runner.run(job)
        runner.ranks.raise_failures()  # a barrier: a rank that left early would look like a lost peer to the others
    except Exception as error:
        from nasdet.trainers.ranks import explain
        from nasdet.trainers.worker import is_lost_peer

        # A rank whose peer is gone has nothing to report: the peer has said why, or it was killed and Ray Train starts
        # the group again. Any other rank reports on a connection of its own, since only rank 0 has one already.
        if not (started and is_lost_peer(error)):
            reason = f"worker {rank}: {explain(error)}"
            (connection or connect()).send(Reply("failed", trial, reason=reason, traceback=traceback_of(error)))
        raise


def authenticate(connection: Connection, key: bytes, own: bytes, other: bytes) -> None:
    """Prove to the other end that this one knows `key`, and have it prove the same, before anything is unpickled.

    Each end sends random bytes and expects their HMAC. The role is part of the message, so that an end without the key
    cannot send a challenge back and return the answer as its own.

    Args:
        connection: to the other end, which calls this too.
        key: of the group.
        own: role of this end.
        other: role of the other end.

    Raises:
        AuthenticationError: the other end has another key.
    """
    challenge = secrets.token_bytes(32)
    connection.send_bytes(challenge)
    connection.send_bytes(hmac.digest(key, own + connection.recv_bytes(32), "sha256"))
    if not hmac.compare_digest(connection.recv_bytes(32), hmac.digest(key, other + challenge, "sha256")):
        raise AuthenticationError("the other end has another key")


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
    torch.set_num_threads(group.threads)
    join(rank, get_context().get_world_size(), group.device)
    device = torch.device("cuda", torch.cuda.current_device()) if group.device == "cuda" else torch.device("cpu")
    runner = Runner(group, device, connection.send if connection else lambda reply: None)
    timing = {"created": config["created"], "entered": entered, "imported": imported, "ready": time.time()}
    pids = runner.ranks.gather(os.getpid())
    runner.reply(Reply("up", values={**timing, **{f"pid{i}": float(pid) for i, pid in enumerate(pids)}}))
    return runner


def _next_job(connection: Connection | None) -> Any:
    """The job that rank 0 was sent, None after a while without one; always None on the other ranks."""
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
        self._closed = self._busy = False
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
        self._busy = job != STOP
        with contextlib.suppress(OSError):
            self._connection.send(job)

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
                error = RuntimeError(f"the workers cannot start: {reply.reason}")
                error.add_note(reply.traceback)
                raise error
            if reply.kind in FINAL:
                self._busy = False
            return reply

    def close(self) -> None:
        """Let the workers end; in the middle of a job they end with this process."""
        patience = 0.5 if self._busy else 10.0
        self.submit(STOP)
        self._thread.join(patience)
        self._closed = True
        self._listener.close()

    def _listen(self) -> None:
        """Accept connections: of rank 0 at every start of the group, and of any other rank that has failed.

        Each one is read by a thread of its own, so that a peer that hangs in the middle of the handshake or of a
        message keeps nobody else waiting. Replies meet in one queue, together with the connection they came from.
        """
        while not self._closed:
            try:
                connection = self._listener.accept()
            except OSError:
                if not self._closed:
                    logger.exception("a worker's connection was not accepted")
                    time.sleep(1.0)
                continue
            threading.Thread(target=self._read, args=(connection,), daemon=True, name="worker-group-reader").start()

    def _read(self, connection: Connection) -> None:
        with contextlib.suppress(EOFError, OSError, AuthenticationError), connection:
            authenticate(connection, self._key, b"group", b"worker")
            while True:
                self._replies.put((connection, connection.recv()))

    def _fit(self, arguments: dict[str, Any], workers: int, resources: dict[str, float], storage: str) -> None:
        from ray.train import FailureConfig, RunConfig, ScalingConfig

        try:
            trainer_class()(
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
