"""How the workers of a group find each other. One decision: Ray Train only hands out rank 0's address; the process
group is made by the workers after their imports, so that neither the trial's actor nor Ray Train's controller imports
torch (each import costs seconds of the group's start on a small machine)."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

import ray
from ray.train.backend import Backend, BackendConfig

TIMEOUT_SECONDS = 1800
"""A collective that takes longer fails, and with it the group."""


@dataclass
class RendezvousConfig(BackendConfig):
    """Ray Train backend that only sets MASTER_ADDR and MASTER_PORT on every worker."""

    @property
    def backend_cls(self) -> type[Backend]:
        """The backend of this configuration."""
        return _Rendezvous


class _Rendezvous(Backend):
    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        """Rank 0 chooses, all are told; again after every restart of the group."""
        address, port = worker_group.execute_single(0, _free_address)
        worker_group.execute(_set_address, address, port)


def join(rank: int, world: int, device: str) -> None:
    """Make the process group of this worker: NCCL between GPUs, gloo between CPUs; nothing to do for one worker."""
    if world == 1:
        return
    import datetime

    import torch.distributed as dist

    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, rank=rank, world_size=world, timeout=datetime.timedelta(seconds=TIMEOUT_SECONDS))


def _free_address() -> tuple[str, int]:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return ray.util.get_node_ip_address(), int(probe.getsockname()[1])


def _set_address(address: str, port: int) -> None:
    os.environ.update(MASTER_ADDR=address, MASTER_PORT=str(port))
