"""Connects to Ray, and ends what was started. One decision: a Ray that the process has started already is used and left
running; else a machine of its own gets a Ray without dashboard and usage reports; a cluster is used as it is."""

from __future__ import annotations

import contextlib
import math
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from types import FrameType

from nasdet.driver.ray_thread import end_ray_threads
from nasdet.driver.resources import Node, cpu_count
from nasdet.environment import environment
from nasdet.errors import InputError

_SETTINGS = {
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a helper process that imports for seconds
    "RAY_DEDUP_LOGS": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # else a thread that still calls Ray after its shutdown starts another one
    "RAY_worker_niceness": "0",  # Ray's 15 lets any other process starve the training
}
REMEDY = "start one with ray start --head, or leave --address out"


def check_address(address: str | None) -> None:
    """Raise `InputError` if nothing listens at HOST:PORT or ray://HOST:PORT: Ray itself takes minutes to say so."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # this machine, or a name such as auto that only Ray can resolve
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"cannot reach Ray: {error}", where=f"--address {address}", remedy=REMEDY) from None


@contextlib.contextmanager
def ray_cluster(address: str | None = None) -> Iterator[list[Node]]:
    """Ray while the block runs; yields its nodes.

    Args:
        address: of a cluster; None: this machine. A Ray that this process has started before is used, whatever the
            address, and is still up afterwards.

    Raises:
        InputError: nothing answers at the address.
    """
    check_address(address)
    with environment(defaults=_SETTINGS):
        import ray

        is_ours = not ray.is_initialized()
        with _same_handler(signal.SIGTERM):  # Ray installs one of its own
            try:
                if is_ours:
                    local = {} if address else {"num_cpus": cpu_count(), "include_dashboard": False}
                    try:
                        with _interrupt_later():
                            ray.init(address=address, log_to_driver=False, configure_logging=False, **local)
                    except Exception as error:
                        reason = str(error).split("\n", 1)[0]
                        where = f"--address {address}" if address else "Ray"
                        raise InputError(f"cannot reach Ray: {reason}", where=where, remedy=REMEDY) from error
                yield live_nodes()
            finally:
                if is_ours:
                    end_ray_threads()
                    ray.shutdown()


@contextlib.contextmanager
def _interrupt_later() -> Iterator[None]:
    """Let a first Ctrl-C wait for the end of the block, and a second one through.

    Ray starts its processes one after another. If it is interrupted in between, the agents of a node that is already
    dead stay for good, and nobody knows them.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (None, signal.SIG_IGN):
        yield
        return
    interrupted = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupted:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _same_handler(number: signal.Signals) -> Iterator[None]:
    """Put a signal's handler back after the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(number)
    try:
        yield
    finally:
        if before is not None:  # else it was not set from Python
            signal.signal(number, before)


def live_nodes() -> list[Node]:
    """The nodes that are up now."""
    import ray

    return [as_node(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def as_node(resources: Mapping[str, float]) -> Node:
    """A node from its resources by Ray's names. Memory: Ray sets a share of it aside for objects, which nasdet has none
    of to speak of."""
    kinds = [name.removeprefix(_KIND) for name in resources if name.startswith(_KIND)]
    memory = resources.get("memory", math.inf) + resources.get("object_store_memory", 0.0)
    return Node(
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        gpu=kinds[0] if kinds else "",
        memory_gb=memory / 1e9,
    )


_KIND = "accelerator_type:"
