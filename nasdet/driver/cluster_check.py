"""`nasdet doctor --address`: a look at every node of a cluster, and what would run where. One decision: a node that can
hold no workers is shown but not judged."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nasdet.data import default_cache_root
from nasdet.driver.node_probe import FolderReport, NodeProbe, NodeReport, look_at_folders, versions
from nasdet.driver.planner import make_plan, resolve
from nasdet.driver.ray_cluster import as_node, ray_cluster
from nasdet.driver.resources import Node
from nasdet.errors import InputError
from nasdet.search import study_root
from nasdet.space import SearchSpace
from nasdet.space.schema import Resources

SECONDS_TO_ANSWER = 120.0
SHARED_MEMORY_GB = 1.0
"""Less than that, and data loaders and Ray's objects may run out of it; Docker gives 0.064."""
CLOCK_SECONDS = 2.0
"""Times of different nodes are compared in logs and in files; further apart they mislead."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    text: str


@dataclasses.dataclass(frozen=True)
class Member:
    """A node of the cluster and what was found there."""

    address: str
    node: Node
    report: NodeReport | None
    """None: it did not answer."""
    problem: str = ""
    """Why it did not answer."""
    clock: float = 0.0
    """Seconds that its clock is ahead of this machine's."""


def check_cluster(asked: str | None, space: SearchSpace | None = None, data: str | None = None) -> dict[str, Any]:
    """Look at every node.

    Args:
        asked: what `--address` asks for.
        space: whose plan to show; None: that of a space without wishes.
        data: folder or file of a data set, or the name of a built-in one, which is made everywhere.

    Returns:
        Plain JSON values: nodes (with findings), cluster (findings about all of them), plan, ok.

    Raises:
        InputError: nothing answers at the address.
    """
    folders = {"studies": str(study_root().absolute()), "cache": str(default_cache_root())}
    if data is not None and Path(data).exists():
        folders["data"] = str(Path(data).absolute())
    with ray_cluster(asked):
        members, here = _look(folders)
    return judge(members, here, space)


def judge(members: Sequence[Member], here: Mapping[str, FolderReport], space: SearchSpace | None) -> dict[str, Any]:
    """What is right and wrong with the nodes; see `check_cluster`.

    Args:
        members: the nodes.
        here: the folders as this machine sees them.
        space: see `check_cluster`.
    """
    nodes = [member.node for member in members]
    about_all, plan = list[Finding](), None
    try:
        plan = make_plan(space, nodes, grows=True) if space else resolve(Resources(), nodes, grows=True)
        lacking = plan.lacking(nodes)
        about_all.append(Finding("plan", True, plan.describe() + (f"; {lacking}" if lacking else "")))
    except InputError as error:
        about_all.append(Finding("plan", False, str(error)))
    about_all += _kinds(members)
    shown, left = [], plan.workers * plan.concurrent if plan else 0
    for member in members:
        workers = min(left, plan.workers_on(member.node, memory=False)) if plan else 0
        left -= workers
        findings = _findings(member, here, alone=len(members) == 1)
        shown.append(
            {
                "address": member.address,
                "host": member.report.host if member.report else None,
                **{name: value for name, value in dataclasses.asdict(member.node).items() if value != float("inf")},
                "workers": workers,
                "checks": {f.name: {"ok": f.ok, "found": f.text} for f in findings},
            }
        )
    every = [check["ok"] for node in shown for check in node["checks"].values()] + [f.ok for f in about_all]
    return {
        "ok": all(every),
        "nodes": shown,
        "cluster": {f.name: {"ok": f.ok, "found": f.text} for f in about_all},
        "plan": dataclasses.asdict(plan) if plan else None,
    }


def _findings(member: Member, here: Mapping[str, FolderReport], *, alone: bool) -> list[Finding]:
    """What is right and wrong with one node; only its size where it holds no workers."""
    node, report = member.node, member.report
    gpus = f", {node.gpus:g} x {node.gpu or 'GPU'}" if node.gpus else ""
    size = Finding("size", True, f"{node.cpus:g} cores{gpus}, {node.memory_gb:.0f} GB")
    if not node.cpus:
        return [dataclasses.replace(size, text=f"{size.text}: no cores, so it holds no workers")]
    if report is None:
        return [size, Finding("answer", False, member.problem)]
    found = [size, _same_versions(report), shared_memory(report.shared_memory_gb)]
    if not alone:
        found += [*_folders(report, here), _network(report), _clock(member.clock)]
    if report.torch_problem:
        found.append(Finding("torch", False, report.torch_problem))
    elif len(report.gpus) < int(node.gpus):
        text = f"Ray counts {node.gpus:g}, PyTorch sees {len(report.gpus)}: check the driver, or torch.version.cuda"
        found.append(Finding("gpus", False, text))
    return found


def _same_versions(report: NodeReport) -> Finding:
    here = versions()
    wrong = [f"{name} {v} (here {here[name]})" for name, v in report.versions.items() if v != here[name]]
    if wrong:
        return Finding("versions", False, f"{', '.join(wrong)}: install the same everywhere")
    return Finding("versions", True, ", ".join(f"{name} {v}" for name, v in report.versions.items()))


def shared_memory(size: float | None) -> Finding:
    """Whether /dev/shm, of so many 1e9 bytes, is large enough."""
    if size is None:
        return Finding("/dev/shm", True, "none on this system")
    text = f"{size:.2g} GB"
    if size < SHARED_MEMORY_GB:
        text += "; loaders may hang: docker run --shm-size 8g, or a memory-backed emptyDir in Kubernetes"
    return Finding("/dev/shm", size >= SHARED_MEMORY_GB, text)


def _folders(report: NodeReport, here: Mapping[str, FolderReport]) -> list[Finding]:
    """Studies and data must be the same everywhere; the cache need not be, but workers write to it."""
    found = []
    for name, folder in report.folders.items():
        shared = folder.exists and bool(folder.content) and folder.content == here[name].content
        if name == "cache":
            text = ("shared" if shared else "its own") if folder.writable else "cannot be written to; set NASDET_HOME"
            found.append(Finding(name, folder.writable, text))
        elif not shared:
            what = "not the same as here" if folder.exists else "does not exist"
            found.append(Finding(name, False, f"{what}: it must be on storage that all nodes see under one path"))
        else:
            writes = folder.writable or name == "data"
            found.append(Finding(name, writes, "shared" if writes else "shared, but cannot be written to"))
    return found


def _network(report: NodeReport) -> Finding:
    name = report.gloo_interface or report.interface
    if not name:
        text = "no interface has the node's address: set GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME on it"
        return Finding("network", False, text)
    text = f"gloo uses {name}" + (", as GLOO_SOCKET_IFNAME says" if report.gloo_interface else "")
    if report.name_is_loopback:
        text += f"; NCCL_SOCKET_IFNAME={name} keeps NCCL off the host name, which stands for a loopback address"
    return Finding("network", True, text)


def _clock(ahead: float) -> Finding:
    ok = abs(ahead) <= CLOCK_SECONDS
    text = f"{abs(ahead):.2f} s {'ahead of' if ahead > 0 else 'behind'} this machine"
    return Finding("clock", ok, text if ok else f"{text}: run a time service such as chrony")


def _kinds(members: Sequence[Member]) -> list[Finding]:
    """Latency of different processors does not compare, and Ray cannot tell these apart."""
    models = sorted({m.report.cpu for m in members if m.report and m.node.cpus and m.report.cpu})
    if len(models) < 2:
        return []
    return [
        Finding("processors", True, f"{'; '.join(models)}: latency measured on one does not compare with another's")
    ]


def _look(folders: Mapping[str, str]) -> tuple[list[Member], dict[str, FolderReport]]:
    """Every node that is up, asked at the same time, and the folders as they are here."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    alive = [info for info in ray.nodes() if info["Alive"]]
    with _marked(folders) as marker:
        here = look_at_folders(folders, marker)
        probes, reports = {}, {}
        for info in alive:
            place = NodeAffinitySchedulingStrategy(info["NodeID"], soft=False)
            probe = ray.remote(NodeProbe).options(num_cpus=0, scheduling_strategy=place).remote()
            probes[info["NodeID"]] = probe
            reports[info["NodeID"]] = probe.look.remote(info["NodeManagerAddress"], folders, marker)
        deadline = time.monotonic() + SECONDS_TO_ANSWER
        members = [_member(i, probes[i["NodeID"]], reports[i["NodeID"]], deadline) for i in alive]
    return members, here


def _member(info: Mapping[str, Any], probe: Any, report: Any, deadline: float) -> Member:
    import ray

    address, node = str(info["NodeManagerAddress"]), as_node(info["Resources"])
    try:
        found = ray.get(report, timeout=max(1.0, deadline - time.monotonic()))
        return Member(address, node, found, clock=_ahead(probe))
    except ray.exceptions.GetTimeoutError:
        return Member(address, node, None, f"no answer for {SECONDS_TO_ANSWER:g} s")
    except ray.exceptions.RayError as error:
        last = [line.strip() for line in str(error).splitlines() if line.strip()][-1]
        return Member(address, node, None, last)


def _ahead(probe: Any, tries: int = 5) -> float:
    """Seconds that a node's clock is ahead: of a few answers the one with the shortest way counts."""
    import ray

    answers = list[tuple[float, float]]()
    for _ in range(tries):
        before, start = time.time(), time.monotonic()
        there: float = ray.get(probe.clock.remote(), timeout=10)
        took = time.monotonic() - start
        answers.append((took, there - (before + took / 2)))
    return min(answers)[1]


@contextlib.contextmanager
def _marked(folders: Mapping[str, str]) -> Iterator[str]:
    """A small file in each folder that nasdet itself writes to, for the block; yields its name."""
    marker = f".nasdet-doctor-{secrets.token_hex(8)}"
    made = list[Path]()
    try:
        for folder in (Path(path) for name, path in folders.items() if name != "data"):
            made += _made(folder)
            with contextlib.suppress(OSError):
                (folder / marker).write_text(marker)
                made.append(folder / marker)
        yield marker
    finally:
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()


def _made(folder: Path) -> list[Path]:
    """Make a folder; returns those that were made for it, from the top."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()][::-1]
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return missing
