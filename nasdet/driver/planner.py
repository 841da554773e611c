"""How a study uses its machines. One decision: `auto` is resolved once, before anything starts, into numbers that are
stored with the study and shown to the user; a resume on other machines resolves it anew."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence

from nasdet.driver.resources import Node, Plan, check_latency_backend, count, latency_device, times
from nasdet.errors import InputError
from nasdet.space import SearchSpace
from nasdet.space.schema import Resources

_LEAST_CPUS = 0.05
"""The smallest share of a core that a worker with a GPU reserves."""
_START_CPUS = "start one with ray start --num-cpus N, or give --concurrent N to wait for nodes that join"


def make_plan(space: SearchSpace, nodes: Sequence[Node], *, grows: bool = False) -> Plan:
    """`resolve` for a space, whose latency must be measurable too, and on one kind of GPU; raises as that."""
    check_latency_backend(space.latency)
    plan = resolve(space.resources, nodes, grows=grows)
    if latency_device(space.latency, plan) == "cpu":
        return plan
    hosts = [node for node in nodes if plan.workers_on(node)]
    if plan.device == "cpu" and not all(node.gpus for node in hosts):
        raise InputError("no GPU here", where="latency.device", remedy="use --set latency.device=cpu or a cluster")
    kinds = _kinds(hosts)
    if len(kinds) == 1:
        return dataclasses.replace(plan, gpu=hosts[0].gpu if plan.device == "cuda" else "")
    names = {objective.name for objective in space.objectives} | {bound.name for bound in space.constraints}
    if kinds and "latency_ms" in names:
        what = f"latency_ms on several kinds of GPU: {', '.join(kinds)}"
        raise InputError(what, where="resources.gpu", remedy=f"choose one, such as --set resources.gpu={kinds[0]}")
    return plan


def workers_of_a_trial(wanted: Resources) -> int:
    """Workers that train one trial together."""
    return 1 if wanted.workers == "auto" else wanted.workers


def resolve(wanted: Resources, nodes: Sequence[Node], *, grows: bool = False) -> Plan:
    """What `auto` means on these nodes.

    CPUs: one single-threaded worker for each candidate, and as many candidates as cores and memory allow, because
    threads within one convolution and data parallel workers both use cores worse than candidates side by side
    (docs/log.md).
    GPUs: one candidate each, with the cores that a GPU has on the poorest node that is needed. Numbers that the user
    gives are kept, and cores that they leave free become threads.

    Args:
        wanted: what the user asks for.
        nodes: what there is now.
        grows: whether nodes may join, so that more trials at a time may be asked for than fit now.

    Raises:
        InputError: more is asked for than there is, or than any node can hold.
    """
    device = wanted.device
    if device == "auto":
        device = "cuda" if wanted.gpus or wanted.gpu or any(node.gpus for node in nodes) else "cpu"
    waits = grows and (wanted.concurrent != "auto" or wanted.gpus is not None)
    hosts = _hosts(wanted, device, nodes, waits=waits)
    worker = Plan(device, workers=workers_of_a_trial(wanted), concurrent=1, threads=1)
    if device == "cuda":
        gpu = hosts[0].gpu if wanted.gpu and hosts else wanted.gpu
        share = wanted.gpus_per_worker
        worker = dataclasses.replace(worker, gpus_per_worker=share, gpu=gpu, cpus_per_worker=_LEAST_CPUS)
    if wanted.threads != "auto":
        worker = _with_threads(worker, wanted.threads)
        largest = int(max((node.cpus for node in hosts), default=wanted.threads))
        if wanted.threads > largest:
            what = f"{wanted.threads} threads for each worker but only {largest} cores on the largest node"
            raise InputError(what, where="resources.threads", remedy=f"use --set resources.threads={largest}")
    plan = dataclasses.replace(worker, concurrent=_concurrent(wanted, worker, hosts, waits=waits))
    return plan if wanted.threads != "auto" else _fill_with_threads(plan, hosts)


def _hosts(wanted: Resources, device: str, nodes: Sequence[Node], *, waits: bool) -> list[Node]:
    """The nodes that may hold workers; none only where the study waits for nodes that join."""
    fitting = [node for node in nodes if device == "cpu" or (node.gpus >= 1 and is_of_kind(node.gpu, wanted.gpu))]
    hosts = [node for node in fitting if node.cpus > 0]
    kinds = _kinds(fitting)
    if wanted.gpu and len(kinds) > 1:
        what = f"{wanted.gpu!r} names several kinds of GPU: {', '.join(kinds)}"
        raise InputError(what, where="resources.gpu", remedy="write one of them in full")
    if hosts or waits:
        return hosts
    if fitting or device == "cpu":
        what = "no node has CPU cores" if device == "cpu" else "no node with a GPU has CPU cores"
        raise InputError(what, where="resources", remedy=_START_CPUS)
    if others := _kinds(nodes):
        what = f"no GPU here is of kind {wanted.gpu!r}, only {', '.join(others)}"
        raise InputError(what, where="resources.gpu", remedy="name one that is here, or leave resources.gpu out")
    remedy = "use --set resources.device=cpu or a cluster (--gpus N plans for GPUs that join it later)"
    raise InputError("no GPU here", where="resources.device", remedy=remedy)


def _kinds(nodes: Sequence[Node]) -> list[str]:
    return sorted({node.gpu or "unknown" for node in nodes if node.gpus})


def is_of_kind(gpu: str, wanted: str) -> bool:
    """Whether a GPU is of the kind that a user names: "A100" and "NVIDIA A100-SXM4-40GB" are both "a100"."""
    have, want = (re.sub("[^a-z0-9]+", "-", text.lower()) for text in (gpu, wanted))
    return not want or f"-{want}-" in f"-{have}-"


def _concurrent(wanted: Resources, worker: Plan, hosts: Sequence[Node], *, waits: bool) -> int:
    """Trials trained at the same time.

    Args:
        wanted: what the user asks for.
        worker: a plan for one trial at a time, whose threads are the fewest that are allowed.
        hosts: the nodes that may hold workers.
        waits: whether more may be asked for than the hosts hold.
    """
    room: float = sum(worker.workers_on(node, memory=False) for node in hosts)
    if wanted.gpus is not None:
        share = times(1, worker.gpus_per_worker)
        if wanted.gpus * share > room and not waits:
            remedy = f"use --gpus {int(room) // share}, or --address of a cluster that grows"
            what = f"{count(wanted.gpus, 'GPU')} but only room for {int(room) // share}"
            raise InputError(what, where="resources.gpus", remedy=remedy)
        room = wanted.gpus * share
    elif waits and not hosts:
        room = math.inf
    if worker.workers > room:
        remedy = f"use --workers {room} or a larger cluster"
        what = f"{worker.workers} workers per trial but only {_room(int(room), worker)}"
        raise InputError(what, where="resources.workers", remedy=remedy)
    if wanted.concurrent == "auto":
        fits = room if waits else sum(map(worker.workers_on, hosts))
        return max(1, int(min(room, fits)) // worker.workers)
    if worker.workers * wanted.concurrent > room and (wanted.gpus is not None or not waits):
        each = count(worker.workers, "worker")
        what = f"{wanted.concurrent} trials x {each} but only {_room(int(room), worker)}"
        remedy = f"use --concurrent {int(room) // worker.workers}"
        if worker.device == "cuda" and worker.gpus_per_worker == 1:
            remedy += ", or let workers share GPUs: --set resources.gpus_per_worker=0.5"
        raise InputError(what, where="resources.concurrent", remedy=remedy)
    return wanted.concurrent


def _room(workers: int, worker: Plan) -> str:
    """For people: what there is, such as "4 cores"."""
    if worker.threads > 1:
        return f"room for {workers} with {worker.threads} threads"
    if worker.device == "cpu":
        return count(workers, "core")
    return count(workers, "GPU") if worker.gpus_per_worker == 1 else f"room for {workers} on the GPUs"


def _with_threads(plan: Plan, threads: int) -> Plan:
    return dataclasses.replace(plan, threads=threads, cpus_per_worker=0.0)


def _fill_with_threads(plan: Plan, hosts: Sequence[Node]) -> Plan:
    """The plan with as many threads as leave room for its workers, or for as many of them as fit now."""
    room = sum(plan.workers_on(node, memory=False) for node in hosts)
    needed = min(room, plan.workers * plan.concurrent)
    if plan.device == "cuda":  # the cores belong to the GPUs: a node's other GPUs may be used by somebody else
        shares = [node.cpus / plan.workers_on(Node(math.inf, node.gpus, node.gpu), memory=False) for node in hosts]
    else:
        shares = [node.cpus for node in hosts]
    for threads in range(int(max(shares, default=1)), 0, -1):
        wide = _with_threads(plan, threads)
        if sum(wide.workers_on(node, memory=False) for node in hosts) >= needed:
            return wide
    # More GPUs than cores: each worker has one thread and reserves its share of the cores.
    return dataclasses.replace(plan, cpus_per_worker=max(_LEAST_CPUS, math.floor(100 * min(shares, default=1)) / 100))
