"""The faults of `chaos.py`, and the searches that they are tried on. Each fault is a function that does the damage and,
where the damage lasts, mends it once the search has met it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.chaos_session import PATIENCE, Row, Search, place
from benchmarks.simulated_cluster import MEGABYTE, below, end, wait_for

FAULTS: dict[str, Callable[[Search], float | None]] = {}
DISK = 600 * MEGABYTE
"""Size of the disk that is filled."""


def fault(function: Callable[[Search], float | None]) -> Callable[[Search], float | None]:
    """Make it a row of the table."""
    FAULTS[function.__name__] = function
    return function


# Processes


@fault
def worker_killed(search: Search) -> float:
    """kill -9 of a worker in the middle of a job."""
    pid, now = _worker(search), time.time()
    end([pid])
    return now


@fault
def holder_killed(search: Search) -> float:
    """kill -9 of the process that holds a group."""
    since, before = time.time(), set(search.up())
    end(search.holders()[:1])
    wait_for(lambda: before - set(search.up()), PATIENCE, "the end of a group is noticed")
    return since


@fault
def step_hangs(search: Search) -> float:
    """A worker stops in the middle of a step (SIGSTOP), as if its loader waited for ever."""
    pid, now = _worker(search), time.time()
    end([pid], signal.SIGSTOP)
    return now


@fault
def collective_hangs(search: Search) -> None:
    """One of two workers stops (SIGSTOP): the other one waits in a collective."""
    end([next(iter(search.up().values()))[1]], signal.SIGSTOP)


@fault
def out_of_memory(search: Search) -> None:
    """The memory of a worker is limited to what it has (RLIMIT_AS) until an allocation has failed."""
    pid, since = _worker(search), time.time()
    held = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (held + 4 * MEGABYTE, resource.RLIM_INFINITY))
    _wait_for_reply(search, "memory", since)
    resource.prlimit(pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


# Nodes


@fault
def node_killed(search: Search) -> float:
    """A node dies with one group on it; another node has room."""
    name, now = _node_with_room_elsewhere(search), time.time()
    search.cluster.kill(name)
    return now


@fault
def node_terminated(search: Search) -> float:
    """SIGTERM to all of a node, and after 30 s SIGKILL, as preemptible machines are taken back."""
    name, now = _node_with_room_elsewhere(search), time.time()
    search.cluster.terminate(name, 30.0)
    return now


@fault
def both_nodes_killed(search: Search) -> float:
    """The node dies on which both groups are."""
    if len(set(_nodes(search))) > 1:
        together = _add_node(search, 2)
        for name in set(search.cluster.nodes) - {together}:
            search.cluster.kill(name)
        search.wait_until_all_train(time.time())
    _add_node(search, 2)
    name, now = _nodes(search)[0], time.time()
    search.cluster.kill(name)
    return now


@fault
def node_with_worker_killed(search: Search) -> None:
    """A node dies that holds one of a group's two workers and not the holder."""
    holder = search.cluster.node_of(search.holders()[0])
    pids = next(iter(search.up().values()))
    search.cluster.kill(next(node for pid in pids if (node := search.cluster.node_of(pid)) not in (holder, None)))


@fault
def node_returns(search: Search) -> float:
    """A node leaves while no other has room, and comes back 10 s later."""
    nodes = _nodes(search)
    for name in set(search.cluster.nodes) - set(nodes):
        search.cluster.kill(name)
    now = time.time()
    cpus = search.cluster.cpus(nodes[0])
    search.cluster.kill(nodes[0])
    time.sleep(10)
    search.cluster.add(nodes[0], cpus)
    return now


@fault
def node_added(search: Search) -> None:
    """A node joins a search that uses all there is: a further group starts."""
    search.groups += 1
    _add_node(search, 1)


# Files


@fault
def checkpoint_truncated(search: Search) -> None:
    """The checkpoints of all paused trials lose their second half, until one was to be read."""
    damaged, since = set(), time.time()

    def read() -> bool:
        for record in search.records():
            path = search.study / "trials" / record.trial / "checkpoint.pt"
            if record.state == "paused" and record.trial not in damaged and path.exists():
                os.truncate(path, path.stat().st_size // 2)
                damaged.add(record.trial)
                kept = max((rung.epochs for rung in record.rungs if rung.epochs < record.epochs), default=0)
                search.destroyed |= {(record.trial, epoch) for epoch in range(kept + 1, record.epochs + 1)}
        jobs = [e for e in search.events(since, "job") if e["start"] and e["trial"] in damaged]
        return any(
            e["trial"] == job["trial"] and e["epoch"] <= job["start"] and e["time"] > job["time"]
            for job in jobs for e in search.events(since, "epoch")
        )  # fmt: skip

    wait_for(read, PATIENCE, "a damaged checkpoint is read")


@fault
def loss_is_nan(search: Search) -> float:
    """The weights in the checkpoint of a trial that trains on become NaN, and its worker is killed, so that they are
    read: it diverges."""
    import torch

    since, damaged = time.time(), set[str]()

    def damage() -> bool:
        for group, pids in search.up().items():
            job = search.job_of(group)
            if job is None or not job["start"]:
                continue
            end(pids[:1], signal.SIGSTOP)
            time.sleep(1)  # the driver takes what the worker sent before
            path = search.study / "trials" / job["trial"] / "checkpoint.pt"
            try:
                state = torch.load(path, weights_only=True)
            except (OSError, RuntimeError):  # an earlier fault has truncated it
                state = {"epoch": job["stop"]}
            if search.job_of(group) != job or state["epoch"] >= job["stop"]:  # no epoch of it is left to train
                end(pids[:1], signal.SIGCONT)
                continue
            for tensor in state["detector"].values():
                if tensor.is_floating_point():
                    tensor.fill_(float("nan"))
            torch.save(state, path)
            damaged.add(job["trial"])
            end(pids[:1])
            return True
        return False

    wait_for(lambda: damage() or search.events(since, "failed"), PATIENCE, "a trial trains on")
    wait_for(lambda: any(e["trial"] in damaged for e in search.events(since, "failed")), PATIENCE, "a trial diverges")
    return since


@fault
def disk_full(search: Search) -> None:
    """The disk of the checkpoints is full until a checkpoint could not be written."""
    disk, since = search.study / "trials", time.time()
    with contextlib.suppress(OSError), (disk / "ballast").open("wb") as file:
        while True:
            file.write(bytes(MEGABYTE // 16))
            file.flush()
    _wait_for_reply(search, "storage", since)
    (disk / "ballast").unlink()


@fault
def disk_read_only(search: Search) -> None:
    """The disk of the checkpoints is read-only until a checkpoint could not be written."""
    disk, since = search.study / "trials", time.time()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    _wait_for_reply(search, "storage", since)
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


@fault
def image_disappears(search: Search) -> None:
    """The images of the data set, which are decoded as they are needed, are gone until one was missed."""
    images, since = search.root / "data" / "images", time.time()
    images.rename(images.with_name("gone"))
    _wait_for_reply(search, "storage", since)
    images.with_name("gone").rename(images)


# Servers and the driver


@fault
def mlflow_killed(search: Search) -> None:
    """kill -9 of the MLflow server; another one starts when the groups have gone on for a while."""
    _end_mlflow(search)
    time.sleep(5)


@fault
def driver_killed(search: Search) -> None:
    """kill -9 of the driver; resumed on the same cluster."""
    search.stop_driver(signal.SIGKILL)
    search.resume()


@fault
def driver_terminated(search: Search) -> None:
    """SIGTERM of the driver; resumed."""
    search.stop_driver(signal.SIGTERM)
    search.resume()


@fault
def driver_killed_in_writing(search: Search) -> None:
    """As if the driver was killed while it wrote the study: a truncated journal of SQLite and half a study.json."""
    search.stop_driver(signal.SIGKILL)
    database = search.study / "optuna.db"
    _hot_journal(database)
    half = (search.study / "study.json").read_bytes()[:100]
    (search.study / "study.json.4711-0badcafe.part").write_bytes(half)
    search.resume()


@fault
def driver_moves(search: Search) -> None:
    """kill -9 of the driver and of the whole cluster; resumed on another cluster at another address."""
    from benchmarks.simulated_cluster import SimulatedCluster

    search.stop_driver(signal.SIGKILL)
    for name in list(search.cluster.nodes):
        search.cluster.kill(name)
    search.cluster.close()
    search.cluster = SimulatedCluster(search.root / "r2")
    _add_node(search, 1)
    _add_node(search, 1)
    search.resume()


@fault
def two_owners(search: Search) -> None:
    """`nasdet resume` of a study that is being searched, ten times: refused with one line."""
    command = [sys.executable, "-m", "nasdet", "resume", str(search.study), "--address", search.cluster.address]
    for _ in range(10):
        second = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        said = second.stderr.strip().splitlines()
        refused = second.returncode == 2 and len(said) == 1 and "another process works on" in said[0]
        assert refused, f"{second.returncode}: {said}"


# What they use


def _worker(search: Search) -> int:
    """One worker of a group that is in the middle of a job."""
    since = time.time()
    wait_for(lambda: search.training(since), PATIENCE, "a group trains")
    return search.up()[min(search.training(since))][0]


def _wait_for_reply(search: Search, kind: str, since: float) -> None:
    wait_for(lambda: search.events(since, kind), PATIENCE, f"a group says {kind}")


def _nodes(search: Search) -> list[str]:
    """Where each group's first worker is."""
    return [node for pids in search.up().values() if (node := search.cluster.node_of(pids[0]))]


def _add_node(search: Search, cpus: int) -> str:
    name = f"n{random.randrange(10**6)}"
    search.cluster.add(name, cpus)
    return name


def _node_with_room_elsewhere(search: Search) -> str:
    """A node with one group, or with the fewest; there is room for its groups on others."""
    nodes = _nodes(search)
    chosen = min(set(nodes), key=nodes.count)
    free = sum(search.cluster.cpus(name) for name in search.cluster.nodes if name != chosen)
    if free < len(nodes):
        _add_node(search, nodes.count(chosen))
    return chosen


def _own_disk(search: Search) -> None:
    """Put the study's trials on a small disk of their own, before there are any."""
    folder = search.study / "trials"
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "chaos", str(folder)], check=True)


def _hot_journal(database: Path) -> None:
    """Leave the first half of a journal beside the database: the writer was killed before it had changed a page."""
    copy = database.with_name("copy.db")
    shutil.copy(database, copy)
    writer = sqlite3.connect(copy, isolation_level=None)
    writer.execute("PRAGMA cache_size = 1")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE trial_user_attributes SET value_json = value_json || ' '")
    journal = copy.with_name("copy.db-journal")
    content = journal.read_bytes()
    assert content, "no journal"
    database.with_name(f"{database.name}-journal").write_bytes(content[: len(content) // 2])
    writer.execute("ROLLBACK")
    writer.close()
    copy.unlink()
    journal.unlink(missing_ok=True)


def _start_mlflow(search: Search, port: int) -> None:
    store = f"sqlite:///{search.root / 'mlflow.db'}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (search.root / "mlflow.txt").open("a") as out:
        server = subprocess.Popen(
            [*command, "--backend-store-uri", store, "--default-artifact-root", str(search.root / "artifacts")],
            stdout=out, stderr=out,
        )  # fmt: skip
    search.helpers = {server.pid}

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(answers, 180, "MLflow starts")


def _end_mlflow(search: Search) -> None:
    for pid in search.helpers:
        end([pid, *below(pid)])
    search.helpers = set()


# Searches


@dataclasses.dataclass
class Session:
    """A search on which faults are tried one after another."""

    faults: tuple[str, ...]
    nodes: dict[str, int]
    workers: int = 1
    groups: int | None = 2
    prepare: Callable[[Path], str] = lambda root: "digits"
    """Makes the data set in a folder; returns what `--data` takes."""

    def run(self, wanted: Iterable[str], keep: str | None, say: Callable[[Row], None]) -> list[Row]:
        """Start the search, try the faults, and end it; what is then left counts for the last one. After a fault from
        which it did not recover the others are tried on another search."""
        rows: list[Row] = []
        queue = list(wanted)
        with place(keep) as root:
            search = Search(root, dict(self.nodes), workers=self.workers, groups=self.groups, data=self.prepare(root))
            try:
                if "mlflow_killed" in queue:
                    port = _free_port()
                    _start_mlflow(search, port)
                    search.tracking = f"http://127.0.0.1:{port}"
                on_disk = {"disk_full", "disk_read_only"} & set(queue)
                search.start((lambda: _own_disk(search)) if on_disk else (lambda: None))
                search.wait_for_rungs(0.0)
                while queue and (not rows or rows[-1].recovered):
                    name = queue.pop(0)
                    rows.append(search.measure(name, FAULTS[name]))
                    if name == "mlflow_killed":
                        _start_mlflow(search, port)
                    say(rows[-1])
            except (TimeoutError, RuntimeError) as error:
                rows.append(Row("start", problem=str(error)))
                queue.clear()
                say(rows[-1])
            finally:
                left = search.close()
                for disk in filter(os.path.ismount, (search.study / "trials", root / "home")):
                    subprocess.run(["umount", "-l", str(disk)], check=True)
                if rows and left:
                    rows[-1].left += left
                    say(rows[-1])
        return [*rows, *(self.run(queue, keep, say) if queue else [])]  # a search that did not recover is given up


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _image_folder(root: Path) -> str:
    """A folder of images, and a cache on a disk that is too small for it, so that images are decoded as needed."""
    from nasdet.data.digits import write_digits

    folder = root / "data"
    folder.mkdir()
    write_digits(folder, 0)
    cache = Path(os.environ["NASDET_HOME"])
    cache.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTE}", "chaos", str(cache)], check=True)
    return str(folder)


SESSIONS = [
    Session(
        (
            "worker_killed", "holder_killed", "step_hangs", "out_of_memory", "checkpoint_truncated", "loss_is_nan",
            "disk_full", "disk_read_only", "two_owners", "mlflow_killed", "node_killed", "node_terminated",
            "both_nodes_killed", "node_returns", "driver_terminated", "driver_killed", "driver_killed_in_writing",
            "driver_moves",
        ),
        nodes={"a": 1, "b": 1},
    ),
    Session(("collective_hangs", "node_with_worker_killed"), nodes={"a": 1, "b": 1, "c": 1}, workers=2, groups=1),
    Session(("image_disappears", "node_added"), nodes={"a": 1, "b": 1}, groups=None, prepare=_image_folder),
]  # fmt: skip
