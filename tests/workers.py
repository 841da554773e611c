"""Worker processes for tests that need a process group.

They are forked from one server process that has imported torch and the trainers, because importing them takes seconds
for every process that is started from nothing. The server has computed nothing, so forking it is safe beside CUDA as
well.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run_workers(work: Callable[..., None], *args: Any, count: int) -> None:
    """Run `work(rank, *args)` in `count` processes side by side; raises what one of them raises."""
    multiprocessing.set_forkserver_preload(["nasdet.trainers.worker"])
    mp.start_processes(work, args, nprocs=count, start_method="forkserver")


def join(rank: int, store: str, *, world: int) -> None:
    """Make this process a member of a gloo group that meets at the file `store`."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
