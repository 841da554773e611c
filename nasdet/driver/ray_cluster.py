"""Ray, up and down. One decision: a machine of its own gets a Ray without dashboard and without usage reports; a
cluster is used as it is."""

from __future__ import annotations

import os
import socket
import sys

from nasdet.driver.resources import cpu_count
from nasdet.errors import InputError

_SETTINGS = {
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
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


def connect(address: str | None = None) -> tuple[int, int]:
    """Connect to the cluster at `address`, or start Ray here; returns CPU cores and GPUs.

    Raises:
        InputError: nothing answers at the address.
    """
    check_address(address)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    try:
        if not ray.is_initialized():
            local = {} if address else {"num_cpus": cpu_count(), "include_dashboard": False}
            ray.init(address=address, log_to_driver=False, configure_logging=False, **local)
    except Exception as error:
        reason = str(error).split("\n", 1)[0]
        raise InputError(
            f"cannot reach Ray: {reason}",
            where=f"--address {address}" if address else "Ray",
            remedy=REMEDY,
        ) from error
    return usable([node["Resources"] for node in ray.nodes() if node["Alive"]])


def usable(nodes: list[dict[str, float]]) -> tuple[int, int]:
    """CPU cores and GPUs to spread workers over; every GPU counts the cores that the poorest GPU node has for one."""
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    if gpus:
        return gpus * min(int(node.get("CPU", 1) / node["GPU"]) for node in nodes if node.get("GPU")), gpus
    return int(sum(node.get("CPU", 0) for node in nodes)) or 1, 0


def disconnect() -> None:
    """Leave the cluster, or end the Ray that was started here; nothing to do where Ray was never imported."""
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()
