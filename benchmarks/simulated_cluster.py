"""A Ray cluster of several nodes on one machine, whose nodes can be killed, and what runs on it.

One decision: the process that uses it adopts every orphan below it (`adopt_orphans`), so that whatever a fault leaves
running is found as a child of this process, under whatever name.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
MEGABYTE = 1 << 20
ATTEMPTS = 3
"""To start a node."""


def adopt_orphans() -> None:
    """From now on, processes below this one whose parents die become children of this one."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def parents() -> dict[int, int]:
    """The parent of every process that runs."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if fields[0] not in "ZX":
                found[int(folder.name)] = int(fields[1])
    return found


def below(root: int) -> list[int]:
    """All processes below one, parents before their children."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]


def title(pid: int) -> str:
    """The command of a process, as Ray may have changed it."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def unused_shared_memory() -> set[str]:
    """Names in /dev/shm that no process has mapped or open; without the queues that a killed MLflow server leaves."""
    own = (path for path in Path("/dev/shm").iterdir() if not any(path.glob("*mlflow-huey*")))
    names, used = {path.name for path in own}, set[str]()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            mapped = (process / "maps").read_text(errors="replace")
            opened = {str(link.readlink()) for link in (process / "fd").iterdir()}
            used |= {name for name in names if f"/dev/shm/{name}" in mapped or f"/dev/shm/{name}" in opened}
    return names - used


def end(pids: list[int], number: int = signal.SIGKILL) -> None:
    """Send a signal to processes, some of which may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """What `condition` returns once that is true.

    Raises:
        TimeoutError: it is not in time.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.2)
    return found


class SimulatedCluster:
    """A head without cores, and nodes that are added; everything on the loopback address.

    Args:
        folder: for Ray's files; a short path, because sockets are made in it.
    """

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self._settings = {
            "temp_dir": str(folder),
            "object_store_memory": 100 * MEGABYTE,
            "include_dashboard": False,
            "node_ip_address": "127.0.0.1",
        }
        self._cluster = Cluster()
        self.nodes: dict[str, Any] = {}
        self._add(num_cpus=0)

    @property
    def address(self) -> str:
        """For `--address`."""
        return str(self._cluster.address)

    def _add(self, **options: Any) -> Any:
        """A node; tried again where Ray finds this machine too slow."""
        before = set(below(os.getpid()))
        for _ in range(ATTEMPTS - 1):
            with contextlib.suppress(Exception):
                return self._cluster.add_node(**options, **self._settings)
            end([pid for pid in below(os.getpid()) if pid not in before])
        return self._cluster.add_node(**options, **self._settings)

    def add(self, name: str, cpus: int) -> None:
        """Add a node of this name."""
        self.nodes[name] = self._add(num_cpus=cpus)
        self._cpus = {**getattr(self, "_cpus", {}), name: cpus}

    def cpus(self, name: str) -> int:
        """Cores of a node."""
        return int(self._cpus[name])

    def processes(self, name: str) -> list[int]:
        """Everything that runs on a node, its raylet first."""
        raylet = self.nodes[name].all_processes["raylet"][0].process.pid
        return [raylet, *below(raylet)]

    def node_of(self, pid: int) -> str | None:
        """The node on which a process runs."""
        return next((name for name in self.nodes if pid in self.processes(name)), None)

    def kill(self, name: str) -> None:
        """End a node as a power cut does: all at once."""
        end(self.processes(name))
        self._forget(name)

    def terminate(self, name: str, seconds: float) -> None:
        """End a node as a cloud takes a preemptible machine back: SIGTERM to all, and after a while SIGKILL."""
        pids = self.processes(name)
        end(pids, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and set(pids) & set(parents()):
            time.sleep(0.2)
        end(pids)
        self._forget(name)

    def _forget(self, name: str) -> None:
        node = self.nodes.pop(name)
        with contextlib.suppress(Exception):  # Ray finds that its processes have ended already
            self._cluster.remove_node(node, allow_graceful=False)

    def own(self) -> set[int]:
        """The processes that the cluster itself consists of."""
        nodes = [self._cluster.head_node, *self.nodes.values()]
        return {info.process.pid for node in nodes for infos in node.all_processes.values() for info in infos}

    def placement_groups(self) -> list[str]:
        """States of those that hold resources, or wait for them."""
        table = self._cluster.global_state.placement_group_table()
        return sorted(group["state"] for group in table.values() if group["state"] != "REMOVED")

    def close(self) -> None:
        """End all nodes."""
        with contextlib.suppress(Exception):
            self._cluster.shutdown()
