"""A search that is broken on purpose: how it is run, what its groups say, and what a fault has cost it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.simulated_cluster import (
    SimulatedCluster,
    adopt_orphans,
    below,
    end,
    parents,
    title,
    unused_shared_memory,
    wait_for,
)
from nasdet.driver.study.dispatcher import Dispatcher
from nasdet.driver.study.worker_groups import Group
from nasdet.environment import environment
from nasdet.search import Job
from nasdet.trainers.job_server import Event
from nasdet.trainers.messages import FINAL

SETTINGS = [
    "fixed.input.size=64",
    "fixed.recipe.data_share=0.3",
    "budget.trials=100000",
    "budget.time_limit=6h",
    "budget.epochs=4",
    "budget.rungs=[1, 2, 4]",
    "scheduler.eta=2",
    "sampler.kind=random",
    "resources.threads=1",
    "resources.hang_timeout=20",
    "latency.timeout=20",
]
"""Candidates of a few seconds a rung."""
AT_FAULT = ("loss_is_nan",)
"""Faults after which one trial fails, as it should."""
PATIENCE = 300.0
"""Seconds within which a search must have recovered."""
SECONDS_TO_VANISH = 30.0
"""Within which nothing may be left of what was killed."""
SAVE_EVERY = 20.0
"""Seconds between checkpoints within a rung, as `nasdet.trainers.worker` has it."""
HOLDER = ("ray::GroupTrainable", "ray::ResourceTrainable")
"""Titles of a process that holds a group, idle and at work."""


@dataclasses.dataclass
class Row:
    """What a fault has cost."""

    fault: str
    recovered: bool = False
    rungs_lost: int = 0
    """Finished rungs that are not in the study any more, or have other values."""
    repeated: int = 0
    """Epochs trained again although they were older than one checkpoint interval when the fault came."""
    failed: int = 0
    """Trials that failed although their candidates were not at fault."""
    seconds: float = 0.0
    """From the fault until every group trained again."""
    left: list[str] = dataclasses.field(default_factory=list)
    problem: str = ""

    @property
    def is_right(self) -> bool:
        return self.recovered and not (self.rungs_lost or self.repeated or self.failed or self.left or self.problem)

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "right": self.is_right}

    def markdown(self) -> str:
        """A line of the table."""
        left = "; ".join(self.left) or "nothing"
        recovered = "yes" if self.recovered else f"NO: {self.problem}"
        return (
            f"| {self.fault.replace('_', ' ')} | {recovered} | {self.rungs_lost} | {self.repeated} | {self.failed} "
            f"| {self.seconds:.0f} | {left} |"
        )


class Search:
    """A `nasdet search` on a cluster.

    Args:
        root: of all files; a short path.
        workers: of each group.
        groups: at work at the same time; None: as many as fit.
        nodes: their names and cores.
        data: data set.
        settings: further changes of the search space.
    """

    def __init__(
        self, root: Path, nodes: dict[str, int], *, workers: int = 1, groups: int | None = 2, data: str = "digits",
        settings: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.root, self.study, self.events_file = root, root / "study", root / "events.jsonl"
        self.workers, self.groups, self._data, self._settings = workers, groups or len(nodes), data, settings
        self._fixed, self._unused = groups is not None, unused_shared_memory()
        self.cluster = SimulatedCluster(root / "r")
        for name, cpus in nodes.items():
            self.cluster.add(name, cpus)
        self.driver: subprocess.Popen[bytes] | None = None
        self.helpers: set[int] = set()
        """Further processes that belong to the session, such as an MLflow server."""
        self.tracking: str | None = None
        self.destroyed: set[tuple[str, int]] = set()
        """Trials and epochs of which a fault has destroyed the only checkpoint: they have to be trained again."""

    # The driver

    def start(self, prepare: Callable[[], object] = lambda: None) -> None:
        """Start the search, and wait until all groups train; `prepare` is called when the study has just been made."""
        command = ["search", "detnet", "--data", self._data, "--study", str(self.study), "--json"]
        command += ["--address", self.cluster.address, "--workers", str(self.workers)]
        command += ["--concurrent", str(self.groups)] if self._fixed else []
        command += ["--tracking-uri", self.tracking] if self.tracking else []
        for text in (*SETTINGS, *self._settings):
            command += ["--set", text]
        self._run(command)
        wait_for((self.study / "study.json").exists, PATIENCE, "the study is made")
        prepare()
        self.wait_until_all_train(time.time())

    def resume(self) -> None:
        """`nasdet resume`, on whatever cluster there is now."""
        self._run(["resume", str(self.study), "--address", self.cluster.address, "--json"])

    def _run(self, arguments: list[str]) -> None:
        with (self.root / "out.txt").open("a") as out:
            environment = {**os.environ, "CHAOS_EVENTS": str(self.events_file)}
            self.driver = subprocess.Popen(
                [sys.executable, "-c", "from benchmarks.chaos_session import drive; drive()", *arguments],
                stdout=out, stderr=out, start_new_session=True, env=environment,
            )  # fmt: skip

    def stop_driver(self, number: int) -> int:
        """Send a signal to the driver and wait for its end; returns the exit code."""
        assert self.driver is not None
        os.kill(self.driver.pid, number)
        return self.driver.wait(60)

    def said(self) -> str:
        """What it has printed."""
        return (self.root / "out.txt").read_text()

    # What the groups say

    def events(self, since: float = 0.0, kind: str = "") -> list[dict[str, Any]]:
        """Messages of the groups, in order."""
        try:
            lines = self.events_file.read_text().splitlines()
        except FileNotFoundError:
            return []
        found = [json.loads(line) for line in lines if line.endswith("}")]
        return [e for e in found if e["time"] >= since and kind in ("", e["kind"])]

    def up(self) -> dict[str, list[int]]:
        """The groups that are up, with the process ids of their workers."""
        found: dict[str, list[int]] = {}
        for event in self.events():
            if event["kind"] == "up":
                found[event["group"]] = event["pids"]
            elif event["kind"] in ("gone", "end", "driver"):
                found = {} if event["kind"] == "driver" else {g: p for g, p in found.items() if g != event["group"]}
        return found

    def training(self, since: float) -> set[str]:
        """Groups that are up and have made a step after `since`."""
        up = self.up()
        signs = ("alive", "epoch", "rung")
        return {e["group"] for e in self.events(since) if e["kind"] in signs and e["group"] in up}

    def wait_until_all_train(self, since: float) -> float:
        """Returns when it was so, in seconds since the epoch."""

        def all_train() -> float:
            if self.driver is None or self.driver.poll() is not None:
                raise RuntimeError(f"the driver has ended: {self.said()[-600:]}")
            return time.time() if len(self.training(since)) >= self.groups else 0.0

        return float(wait_for(all_train, PATIENCE, f"{self.groups} groups train"))

    def wait_for_rungs(self, since: float) -> None:
        """Wait until as many groups as there should be have finished a rung."""
        finished = lambda: len({e["group"] for e in self.events(since, "rung")} & set(self.up()))  # noqa: E731
        wait_for(lambda: finished() >= self.groups, PATIENCE, "every group finishes a rung")

    def job_of(self, group: str) -> dict[str, Any] | None:
        """The job that it is at, if it is at one: the event by which it was given."""
        jobs = [e for e in self.events() if e["group"] == group and (e["kind"] == "job" or e["kind"] in FINAL)]
        return jobs[-1] if jobs and jobs[-1]["kind"] == "job" else None

    def records(self) -> list[Any]:
        """Of the study as it is stored."""
        from nasdet.search import StudyStore

        return StudyStore.open(self.study).records()

    def rungs(self) -> dict[str, list[Any]]:
        """The finished rungs of each trial."""
        return {r.trial: list(r.rungs) for r in self.records() if r.rungs}

    def failed(self) -> set[str]:
        """Trials that ended as failures, whoever said so."""
        return {r.trial for r in self.records() if r.state == "failed"}

    def holders(self) -> list[int]:
        """Processes that hold a group."""
        return [pid for pid in below(os.getpid()) if title(pid).startswith(HOLDER)]

    # Faults

    def measure(self, name: str, inject: Callable[[Search], float | None]) -> Row:
        """Break something and see what it costs. `inject` returns when the damage is done and, where it lasts, mended;
        it may return when the fault was, if not when it was called."""
        row, before, failed, fault = Row(name), self.rungs(), self.failed(), time.time()
        try:
            fault = inject(self) or fault
            row.seconds = round(self.wait_until_all_train(time.time() + 0.3) - fault, 1)
            self.wait_for_rungs(fault)
            row.recovered = True
        except (TimeoutError, RuntimeError, AssertionError, subprocess.TimeoutExpired) as error:
            row.problem = f"{type(error).__name__}: {error}"
        try:
            after = self.rungs()
        except Exception as error:  # a study that does not open has lost everything
            after, row.problem = {}, f"the study does not open: {error}"
        row.rungs_lost = sum(
            rung not in after.get(trial, [])[: len(rungs)] for trial, rungs in before.items() for rung in rungs
        )
        row.repeated = self._repeated(fault)
        row.failed = len(self.failed() - failed) - (name in AT_FAULT and row.recovered)
        row.left = self._left()
        return row

    def _repeated(self, fault: float) -> int:
        """Epochs that were trained before the fault and again after it, of those that a checkpoint should have kept."""
        first: dict[tuple[str, int], float] = {}
        last: dict[str, float] = {}
        longest, again = 0.0, list[float]()
        for event in self.events():
            if event["kind"] == "job":
                last[event["trial"]] = event["time"]
            if event["kind"] != "epoch":
                continue
            key = event["trial"], event["epoch"]
            longest = max(longest, event["time"] - last.get(event["trial"], event["time"]))
            last[event["trial"]] = event["time"]
            if key in first and first[key] < fault <= event["time"] and key not in self.destroyed:
                again.append(first[key])
            first.setdefault(key, event["time"])
        return sum(fault - trained > SAVE_EVERY + longest for trained in again)

    def _left(self) -> list[str]:
        """What should not be there any more, once there was time for it to vanish."""
        deadline = time.monotonic() + SECONDS_TO_VANISH
        while (left := self._leftovers()) and time.monotonic() < deadline:
            time.sleep(0.5)
        return left

    def _leftovers(self) -> list[str]:
        known = self.cluster.own() | self.helpers | ({self.driver.pid} if self.driver else set())
        found = [
            f"process {title(pid)[:60]}"
            for pid, parent in parents().items()
            if parent == os.getpid() and pid not in known and "bash" not in title(pid)
        ]
        if (count := len(self.holders())) != self.groups:
            found.append(f"{count} holders of {self.groups} groups")
        if (count := len(self.cluster.placement_groups())) != self.groups:
            found.append(f"{count} placement groups of {self.groups} groups")
        parts = [path for path in self.study.rglob("*.part") if time.time() - path.stat().st_mtime > 5]
        return found + [f"file {path.relative_to(self.study)}" for path in parts]

    def close(self) -> list[str]:
        """End everything; returns what had to be ended by force, and files that are left."""
        left = []
        if self.driver is not None and self.driver.poll() is None:
            try:
                self.stop_driver(signal.SIGINT)
            except subprocess.TimeoutExpired:
                left.append("the driver does not end by Ctrl-C")
                end([self.driver.pid])
        end(list(self.helpers), signal.SIGTERM)
        self.cluster.close()
        deadline = time.monotonic() + SECONDS_TO_VANISH
        while (pids := below(os.getpid())) and time.monotonic() < deadline:
            time.sleep(0.2)
        left += [f"process {title(pid)[:60]}" for pid in pids]
        end(pids)
        left += [f"shared memory {name}" for name in unused_shared_memory() - self._unused]
        kept = ("torch", "db_init_lock")  # of torch and of MLflow, for their next process
        return left + [f"file {path.name}" for path in (self.root / "t").iterdir() if not path.name.startswith(kept)]


@contextlib.contextmanager
def place(keep: str | None) -> Iterator[Path]:
    """A folder for one session, to which temporary files, Ray's and nasdet's own go; it must have a short name."""
    adopt_orphans()
    root = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    for name in ("t", "ray"):  # temporary files; where Ray notes its address
        (root / name).mkdir()
    settings = {
        "TMPDIR": str(root / "t"),
        "RAY_TMPDIR": str(root),
        "RAY_AUTH_MODE": "disabled",
        "NASDET_HOME": str(root / "home"),
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
    }
    try:
        with environment(settings, defaults={"OMP_NUM_THREADS": "1"}):
            yield root
    finally:
        if keep:
            shutil.copytree(root, Path(keep) / root.name, ignore=shutil.ignore_patterns("sockets"), dirs_exist_ok=True)
        shutil.rmtree(root, ignore_errors=True)


class Watched(Dispatcher):
    """Writes down what it takes and gives."""

    def take(self, event: Event | None, **more: bool) -> None:
        group = self.groups.get(event.group) if event is not None else None
        is_current = event is not None and group is not None and event.connection is group.connection
        if event is not None and (reply := event.reply) is not None:
            pids = [int(pid) for name, pid in sorted(reply.values.items()) if name.startswith("pid")]
            _note(reply.kind, event.group, trial=reply.trial, epoch=reply.epoch, pids=pids, reason=reply.reason)
        elif event is not None and is_current:
            _note("gone", event.group)
        super().take(event, **more)

    def _give(self, name: str, group: Group, job: Job) -> None:
        _note("job", name, trial=job.record.trial, start=job.record.epochs, stop=job.stop)
        super()._give(name, group, job)

    def end_group(self, name: str, reason: str = "") -> None:
        _note("end", name, reason=reason)
        super().end_group(name, reason)


def _note(kind: str, group: str = "", **values: Any) -> None:
    with Path(os.environ["CHAOS_EVENTS"]).open("a") as sink:
        sink.write(json.dumps({"time": time.time(), "kind": kind, "group": group, **values}) + "\n")


def drive() -> None:
    """`nasdet` with the arguments of this process, which writes down every message of its groups."""
    from ray._private import ray_constants

    from nasdet.cli.main import main
    from nasdet.driver.study import dispatcher

    ray_constants.ENABLE_RAY_CLUSTER = False  # else Ray turns 127.0.0.1 into the address of the network card
    _note("driver")
    dispatcher.Dispatcher = Watched  # type: ignore[misc]
    main()
