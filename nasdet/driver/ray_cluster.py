"""Connects to Ray, and ends what was started. One decision: a Ray that the process has started already is used and left
running; else a Ray of one's own has no dashboard, sends no usage reports and listens on this machine only; a cluster is
used as it is."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

from nasdet.driver.ray_address import check_address, is_here, ray_address, unreachable
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
    "RAY_raylet_start_wait_time_s": "120",  # Ray gives up after 30, too few where other work keeps the machine busy
    "RAY_worker_niceness": "0",  # Ray's 15 lets any other process starve the training
}


@contextlib.contextmanager
def ray_cluster(asked: str | None = None) -> Iterator[list[Node]]:
    """Ray while the block runs; yields its nodes.

    Args:
        asked: what `--address` asks for; see `nasdet.driver.ray_address`. A Ray that this process has started before is
            used, whatever the address, and is still up afterwards.

    Raises:
        InputError: nothing answers at the address, or Ray does not start.
    """
    check_address(asked)
    with environment(defaults=_SETTINGS), _same_token_mode():
        import ray

        is_ours = not ray.is_initialized()
        with _same_handler(signal.SIGTERM) as handler:  # Ray installs one of its own
            try:
                if is_ours:
                    with _interrupt_later():
                        _connect(asked)
                    if callable(handler):
                        signal.signal(signal.SIGTERM, handler)
                yield live_nodes()
            finally:
                if is_ours:
                    end_ray_threads()
                    ray.shutdown()


def _connect(asked: str | None) -> None:
    """Connect to the cluster at the address, or start a Ray of one's own; raises as `ray_cluster`."""
    import ray

    address = ray_address(asked)
    try:
        if address is None:
            with _on_loopback():
                ray.init("local", num_cpus=cpu_count(), include_dashboard=False, **_QUIET)
        else:
            if is_here(address):
                _show_token_if_asked(address)
            ray.init(address, **_QUIET)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        if address is None:
            remedy = "Ray's own logs are in /tmp/ray/session_latest/logs"
            raise InputError(f"Ray does not start: {reason}", where="Ray", remedy=remedy) from error
        raise unreachable(asked, reason) from error


_QUIET: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """A Ray that starts in the block listens on 127.0.0.1 only, as Ray itself does where it supports no clusters.

    Ray knows no public setting for it: it turns every other name of this machine into the address of its network card.
    A release of Ray without this one is left to itself: whoever talks to it needs the token.
    """
    try:
        from ray._private import ray_constants
    except ImportError:
        yield
        return
    name = "ENABLE_RAY_CLUSTER"  # read when the module is imported, so the variable alone would come too late
    before = getattr(ray_constants, name, None)
    setattr(ray_constants, name, False)
    try:
        with environment({"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}):
            yield
    finally:
        setattr(ray_constants, name, before)


def _show_token_if_asked(address: str) -> None:
    """Show the user's token to a Ray on this machine that asks for one, as Ray itself does to one that it finds here.

    Where a token lies in the home folder, every Ray that is started asks for it, but Ray sends it to no given address.
    A process that itself asks for a token must not connect to a Ray that does not: its actors are never started.
    """
    if _MODE in os.environ:
        return
    with contextlib.suppress(ImportError):
        from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
        from ray._raylet import GcsClient  # type: ignore[attr-defined]
        from ray.exceptions import AuthenticationError, RpcError

        try:
            with contextlib.suppress(RpcError):  # `ray.init` will say it
                GcsClient(address=address).internal_kv_keys(b"session", b"session", timeout=5)
        except AuthenticationError:
            maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


_MODE = "RAY_AUTH_MODE"
"""Whether Ray asks for a token; Ray sets it itself where it starts or finds a Ray that does."""


@contextlib.contextmanager
def _same_token_mode() -> Iterator[None]:
    """After the block the variable is set if it was set before."""
    before = os.environ.get(_MODE)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_MODE, None)


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
def _same_handler(number: signal.Signals) -> Iterator[Any]:
    """Put a signal's handler, which is yielded, back after the block; None in a thread, which must not set any."""
    if threading.current_thread() is not threading.main_thread():
        yield None
        return
    before = signal.getsignal(number)
    try:
        yield before
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
