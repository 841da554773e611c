"""What machines have and what a study asks of them. One decision: a worker runs on one node, so everything is counted
node by node; sums over nodes would promise workers that no single node can hold. `nasdet.driver.planner` decides the
numbers."""

from __future__ import annotations

import dataclasses
import math
import os
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

from nasdet.errors import InputError
from nasdet.space import SearchSpace
from nasdet.space.schema import LatencyConfig
from nasdet.study_config import ResourcePlan
from nasdet.trainers.messages import GroupConfig

SLACK = 0.02
"""What a worker reserves less than its cores, so that the holder of its group fits beside it."""
GROUP_GB = 1.5
"""1e9 bytes of memory that one worker and its share of Ray and loaders take; measured in docs/figures.md."""


@dataclasses.dataclass(frozen=True)
class Node:
    """One machine, as Ray counts it."""

    cpus: float
    """Cores."""
    gpus: float = 0.0
    """GPUs; a slice of a MIG device that is listed in CUDA_VISIBLE_DEVICES counts as one."""
    gpu: str = ""
    """Their kind, such as A100; empty: none, or not known."""
    memory_gb: float = math.inf
    """1e9 bytes that processes may take."""


@dataclasses.dataclass(frozen=True)
class Plan(ResourcePlan):
    """What a study asks of Ray, and says of it."""

    @property
    def cores(self) -> float:
        """Cores that each worker counts for; fewer than its threads where a machine has more GPUs than cores."""
        return self.cpus_per_worker or self.threads

    @property
    def worker_resources(self) -> dict[str, float]:
        """What Ray reserves for each worker."""
        wanted = {"CPU": round(self.cores - SLACK, 2)}
        if self.device == "cuda":
            wanted["GPU"] = self.gpus_per_worker
            if self.gpu:
                wanted[f"accelerator_type:{self.gpu}"] = 0.001  # Ray gives each node 1 of its kind
        return wanted

    def describe(self) -> str:
        """For people: "2 trials at a time, 1 worker x 1 thread on cpu"."""
        trials = "1 trial at a time" if self.concurrent == 1 else f"{self.concurrent} trials at a time"
        share = "" if self.gpus_per_worker == 1 else f"{self.gpus_per_worker:g} of a GPU each"
        more = ", ".join(filter(None, (self.gpu, share)))
        device = f"{self.device} ({more})" if more else self.device
        return f"{trials}, {count(self.workers, 'worker')} x {count(self.threads, 'thread')} on {device}"

    def workers_on(self, node: Node, *, memory: bool = True) -> int:
        """How many workers of this plan a node holds.

        Args:
            node: the node, with nothing else on it.
            memory: whether its memory limits them too.
        """
        most = times(node.cpus, self.cores)
        if memory:
            most = min(most, max(1, times(node.memory_gb, GROUP_GB)))
        if self.device == "cuda":
            if self.gpu and node.gpu != self.gpu:
                return 0
            # Ray lets a worker have a share of one GPU, never parts of two.
            most = min(most, int(node.gpus) * times(1, self.gpus_per_worker))
        return most

    def groups_on(self, nodes: Iterable[Node], *, memory: bool = True) -> int:
        """How many trials of this plan train at once on these nodes; the workers of one may lie on several nodes."""
        return sum(self.workers_on(node, memory=memory) for node in nodes) // self.workers

    def lacking(self, nodes: Iterable[Node]) -> str:
        """In a line, what has to join these nodes before all trials of the plan train at once; empty if nothing."""
        now = self.groups_on(nodes, memory=False)
        if now >= self.concurrent:
            return ""
        each = ", ".join(f"{amount:g} {name}" for name, amount in self.worker_resources.items())
        return (
            f"the cluster has room for {now} of {count(self.concurrent, 'trial')} now; the others start when nodes "
            f"join ({count(self.workers, 'worker')} for each, of {each})"
        )


def times(whole: float, part: float) -> int:
    """How often `part` fits into `whole`."""
    return int(min(whole / part + 1e-9, 1e9))


def count(number: int, noun: str) -> str:
    """Such as "1 worker" and "2 workers"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def cpu_count() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def this_machine() -> Node:
    """This machine, without asking Ray."""
    import torch

    gpus = torch.cuda.device_count()
    return Node(cpu_count(), gpus, torch.cuda.get_device_name(0) if gpus else "")


def check_latency_backend(target: LatencyConfig) -> None:
    """Raise `InputError` if the program that measures latency is not installed here."""
    if target.backend == "torch":
        return
    from nasdet.export.export_onnx import check_onnx_extra

    check_onnx_extra("latency.backend")
    if target.command is not None and shutil.which(shlex.split(target.command)[0]) is None:
        what = f"no such program: {shlex.split(target.command)[0]}"
        raise InputError(what, where="latency.command", remedy="give its path, or make it executable")


def latency_device(target: LatencyConfig, plan: ResourcePlan) -> str:
    """Where latency is measured: cpu or cuda."""
    if target.backend == "onnxruntime":
        return "cpu"
    return plan.device if target.device == "auto" else target.device


def group_config(space: SearchSpace, plan: Plan, *, source: str, cache_root: Path) -> GroupConfig:
    """What every worker of the study needs to know."""
    target = space.latency
    return GroupConfig(
        source=source,
        data_seed=space.data.seed,
        max_bad=space.data.max_bad,
        device=plan.device,
        threads=plan.threads,
        latency_device=latency_device(target, plan),
        latency_batch=target.batch,
        latency_threads=plan.threads if target.threads == "auto" else target.threads,
        cache_root=str(cache_root),
        latency_backend=target.backend,
        latency_command=target.command or "",
        latency_timeout=target.timeout,
        latency_folder=str(Path.cwd()),
        latency_alone=plan.concurrent > 1 and (latency_device(target, plan) == "cpu" or plan.gpus_per_worker < 1),
    )
