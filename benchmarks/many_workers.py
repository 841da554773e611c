"""What the driver of a search stands: many worker groups, played in this process, and many reports.

    python benchmarks/many_workers.py --json                            a quarter of an hour
    python benchmarks/many_workers.py --json --groups 1000 --reports 2000 --only halving

Dispatcher, engine, study (SQLite), progress, clean-up and MLflow are those of a search; only the groups are played:
each says after every epoch what a worker would say, in the order in which jobs of different length would end. Every
epoch is a report, and the last one of a job a rung, after which the engine decides. Printed are the milliseconds of
processor time and of wall-clock time that the driver takes for a report of either kind, early and late in the study,
its memory, and how many groups one driver can serve if a group finishes an epoch each `EPOCH_SECONDS`.

`make soak` runs it.
"""

from __future__ import annotations

import argparse
import heapq
import io
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.search_scale import space

SCHEDULERS = ("halving", "full", "freeze_thaw")
EPOCH_SECONDS = 30.0
"""Seconds of an epoch on a group, to speak of a number of groups."""


class Sink:
    """The driver's end of a connection to a group; keeps the last job."""

    def __init__(self) -> None:
        self.job: Any = None

    def send(self, message: Any) -> None:
        self.job = message


def play(folder: Path, scheduler: str, groups: int, reports: int) -> dict[str, Any]:
    """Serve `groups` played groups until they have sent `reports` reports."""
    from nasdet.driver.observers.base import Observers
    from nasdet.driver.observers.cleanup import Housekeeping
    from nasdet.driver.observers.mlflow_mirror import MlflowMirror
    from nasdet.driver.observers.progress import Progress
    from nasdet.driver.study.dispatcher import Dispatcher
    from nasdet.driver.study.study_run import Phase
    from nasdet.search import Candidate, Engine, StudyStore
    from nasdet.study_config import StudyConfig
    from nasdet.trainers.job_server import Event
    from nasdet.trainers.messages import Reply

    def build(params: dict[str, Any]) -> Candidate:
        cost = 1.0 + 10 * params["width"] + params["depth"]
        return Candidate({}, {}, {"latency_ms": cost, "params_m": 1 + 20 * params["resolution"]})

    config = StudyConfig(study="s", data="played", reference_point=(0.0, 16.0, 22.0), reference_given=True)
    store = StudyStore.create(folder / "s", config, space(scheduler, "auto", trials=10**9))
    engine = Engine(store, build)
    warn = lambda line: None  # noqa: E731
    observers = Observers(Progress(io.StringIO()), MlflowMirror(store, warn), Housekeeping(store, engine), warn=warn)
    dispatcher = Dispatcher(iter([Phase(engine, observers)]), lambda: groups)
    sinks, events = [Sink() for _ in range(groups)], list[tuple[float, int, int]]()
    rng = random.Random(0)
    pace = [rng.uniform(0.5, 2.0) for _ in range(groups)]
    begin = time.perf_counter()
    for number, sink in enumerate(sinks):
        dispatcher.start_group(str(number))
        dispatcher.take(Event(str(number), 0, sink, Reply("up", host=str(number))))  # type: ignore[arg-type]
        heapq.heappush(events, (pace[number], number, sink.job.start + 1))
    started = time.perf_counter() - begin
    taken: dict[str, list[tuple[float, float]]] = {"epoch": [], "rung": []}
    while sum(map(len, taken.values())) < reports and events:
        now, number, epoch = heapq.heappop(events)
        sink = sinks[number]
        job = sink.job
        kind = "rung" if epoch >= job.stop else "epoch"
        quality = (hash(job.trial) % 1000 / 1000) * (1 - 0.5**epoch)
        values = {"loss": 1.0} if kind == "epoch" else {"ap": quality}
        reply = Reply(kind, job.trial, epoch, values, seconds=1.0 if kind == "rung" else 0.0)  # type: ignore[arg-type]
        wall, cpu = time.perf_counter(), time.process_time()
        dispatcher.take(Event(str(number), 0, sink, reply))  # type: ignore[arg-type]
        taken[kind].append((time.perf_counter() - wall, time.process_time() - cpu))
        following = epoch + 1 if sink.job is job else sink.job.start + 1
        if sink.job is not job or kind == "epoch":
            heapq.heappush(events, (now + pace[number], number, following))
    return {"start_seconds": started, "trials": len(store.records()), **_figures(taken), "memory_mb": _memory()}


def _figures(taken: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """Milliseconds of the first and the last tenth of the reports of each kind, and the groups that follow."""
    figures: dict[str, Any] = {"reports": {kind: len(times) for kind, times in taken.items()}}
    for kind, times in taken.items():
        tenth = max(1, len(times) // 10)
        for name, part in (("first", times[:tenth]), ("last", times[-tenth:])):
            wall, cpu = (statistics.mean(column) * 1e3 for column in zip(*part, strict=True))
            figures[f"{kind}_{name}"] = {"wall_ms": wall, "cpu_ms": cpu}
    share = len(taken["rung"]) / sum(map(len, taken.values()))
    mean = share * figures["rung_last"]["wall_ms"] + (1 - share) * figures["epoch_last"]["wall_ms"]
    return {**figures, "groups_served": round(EPOCH_SECONDS / (mean / 1e3))}


def _memory() -> float:
    """1e6 bytes that this process takes now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--groups", type=int, nargs="+", default=[16, 1000])
    parser.add_argument("--reports", type=int, default=100_000)
    parser.add_argument("--only", nargs="+", default=list(SCHEDULERS), choices=SCHEDULERS, help="schedulers")
    parser.add_argument("--cell", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cell:
        with tempfile.TemporaryDirectory(prefix="nasdet-many-", ignore_cleanup_errors=True) as name:
            print(json.dumps(play(Path(name), args.only[0], args.groups[0], args.reports)), flush=True)
        return
    result: dict[str, Any] = {}
    for scheduler in args.only:
        for groups in args.groups:
            print(f"{scheduler}, {groups} groups", file=sys.stderr, flush=True)
            # A process of its own: its memory is measured.
            command = [sys.executable, __file__, "--cell", "--only", scheduler, "--groups", str(groups)]
            done = subprocess.run([*command, "--reports", str(args.reports)], stdout=subprocess.PIPE, check=True)
            result.setdefault(scheduler, {})[str(groups)] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(result, indent=None if args.json else 2))


if __name__ == "__main__":
    main()
