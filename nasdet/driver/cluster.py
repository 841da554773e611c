"""Ray, up and down. One decision: a machine of its own gets a Ray without dashboard and without usage reports; a
cluster is used as it is."""

from __future__ import annotations

import os

from nasdet.driver.plan import cpu_count
from nasdet.errors import InputError

_SETTINGS = {
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_worker_niceness": "0",  # Ray's 15 lets any other process starve the training
}


def connect(address: str | None = None) -> tuple[int, int]:
    """Connect to the cluster at `address`, or start Ray here; returns CPU cores and GPUs.

    Raises:
        InputError: nothing answers at the address.
    """
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
            remedy="start one with ray start --head, or leave --address out",
        ) from error
    total = ray.cluster_resources()
    return int(total.get("CPU", 1)), int(total.get("GPU", 0))


def disconnect() -> None:
    """Leave the cluster, or end the Ray that was started here."""
    import ray

    ray.shutdown()
