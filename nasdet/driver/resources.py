"""How a study uses the machine. One decision: `auto` is resolved once, before anything starts, into numbers that are
stored with the study and shown to the user; a resume on another machine resolves it anew."""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil
from pathlib import Path

from nasdet.errors import InputError
from nasdet.space import SearchSpace
from nasdet.space.schema import LatencyConfig, Resources
from nasdet.study_config import ResourcePlan
from nasdet.trainers.messages import GroupConfig

TRIAL_CPUS = 0.01
"""CPUs that Ray reserves for the actor that holds a worker group; it only waits."""


@dataclasses.dataclass(frozen=True)
class Plan(ResourcePlan):
    """What a study asks of Ray, and says of it."""

    @property
    def worker_resources(self) -> dict[str, float]:
        """What Ray reserves for each worker; a little below whole cores, so that the trial's actor fits beside."""
        gpus = {"GPU": 1.0} if self.device == "cuda" else {}
        return {"CPU": round(self.threads - 0.1, 2), **gpus}

    def describe(self) -> str:
        """For people: "1 trial at a time, 2 workers x 1 thread on cpu"."""
        trials = "1 trial at a time" if self.concurrent == 1 else f"{self.concurrent} trials at a time"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return f"{trials}, {workers} x {threads} on {self.device}"


def cpu_count() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_of_a_trial(wanted: Resources, *, cpus: int, gpus: int) -> int:
    """Workers that train one trial together; this machine may have fewer."""
    if wanted.workers != "auto":
        return wanted.workers
    return 1 if wanted.device == "cuda" or (wanted.device == "auto" and gpus) else min(2, cpus)


def make_plan(space: SearchSpace, *, cpus: int, gpus: int) -> Plan:
    """`resolve` for a space, whose latency must be measurable too; raises as that."""
    if space.latency.device == "cuda" and not gpus:
        raise InputError("no GPU here", where="latency.device", remedy="use --set latency.device=cpu or a cluster")
    check_latency_backend(space.latency)
    return resolve(space.resources, cpus=cpus, gpus=gpus)


def check_latency_backend(target: LatencyConfig) -> None:
    """Raise `InputError` if the program that measures latency is not installed here."""
    if target.backend == "torch":
        return
    from nasdet.export.export_onnx import check_onnx_extra

    check_onnx_extra("latency.backend")
    if target.command is not None and shutil.which(shlex.split(target.command)[0]) is None:
        what = f"no such program: {shlex.split(target.command)[0]}"
        raise InputError(what, where="latency.command", remedy="give its path, or make it executable")


def resolve(wanted: Resources, *, cpus: int, gpus: int) -> Plan:
    """What `auto` means on a machine or cluster with these CPU cores and GPUs.

    Without a GPU a trial gets two workers where there are two cores: data parallel single-threaded workers use small
    machines better than threads within one convolution (docs/log.md). With GPUs every trial gets one.

    Raises:
        InputError: more is asked for than there is.
    """
    device = ("cuda" if gpus else "cpu") if wanted.device == "auto" else wanted.device
    units, noun = (gpus, "GPUs") if device == "cuda" else (cpus, "cores")
    if device == "cuda" and not gpus:
        raise InputError("no GPU here", where="resources.device", remedy="use --set resources.device=cpu or a cluster")
    workers = workers_of_a_trial(wanted, cpus=cpus, gpus=gpus)
    if workers > units:
        raise InputError(
            f"{workers} workers per trial but only {units} {noun}",
            where="resources.workers",
            remedy=f"use --workers {units} or a larger cluster",
        )
    default_concurrent = max(1, units // workers) if device == "cuda" else 1
    concurrent = default_concurrent if wanted.concurrent == "auto" else wanted.concurrent
    if workers * concurrent > units:
        raise InputError(
            f"{concurrent} trials x {workers} workers but only {units} {noun}",
            where="resources.concurrent",
            remedy=f"use --concurrent {units // workers}",
        )
    most = max(1, cpus // (workers * concurrent))
    threads = most if wanted.threads == "auto" else wanted.threads
    if threads > most:
        raise InputError(
            f"{threads} threads for each of {workers * concurrent} workers but only {cpus} cores",
            where="resources.threads",
            remedy=f"use --set resources.threads={most} or a larger cluster",
        )
    return Plan(device, workers, concurrent, threads)


def group_config(space: SearchSpace, plan: Plan, *, source: str, cache_root: Path) -> GroupConfig:
    """What every worker of the study needs to know."""
    target = space.latency
    device = plan.device if target.device == "auto" else target.device
    device = "cpu" if target.backend == "onnxruntime" else device
    return GroupConfig(
        source=source,
        data_seed=space.data.seed,
        max_bad=space.data.max_bad,
        device=plan.device,
        threads=plan.threads,
        latency_device=device,
        latency_batch=target.batch,
        latency_threads=plan.threads if target.threads == "auto" else target.threads,
        cache_root=str(cache_root),
        latency_backend=target.backend,
        latency_command=target.command or "",
        latency_timeout=target.timeout,
        latency_folder=str(Path.cwd()),
    )
