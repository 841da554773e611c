"""Whether anything grows over a long search: memory, open files and seconds of a trial, in every process.

    python benchmarks/soak.py --json          300 short trials on two worker groups, a quarter of an hour on 2 cores

One decision: a real search through Ray, whose processes are looked at from outside (/proc) while trials end, and
compared by thirds of the search, because a leak shows as a difference between them and noise does not; it ends with
exit code 1 if something grows. A process is named by what it is: driver, holder, worker, and the rest of Ray together.

`make soak` runs it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from nasdet.driver.observers.base import Observer
from nasdet.trial import TrialRecord

OVERRIDES = [
    "budget.epochs=1",
    "budget.rungs=[1]",
    "budget.time_limit=2h",
    "scheduler.kind=full",
    "sampler.kind=random",
    "objectives=[{name: ap}, {name: latency_ms}, {name: params_m}]",
    "constraints=[gflops < 0.02]",
    "resources.workers=1",
    "resources.threads=1",
]
PAGE = os.sysconf("SC_PAGE_SIZE")
GROWTH, SLACK = 1.05, {"memory_mb": 20.0, "files": 3.0}
"""The last third may exceed the second by 5% and so much; in the first one, what is loaded once is still loaded."""


class Watch(Observer):
    """Looks at all processes of the search whenever a trial has ended.

    Attributes:
        rows: by process, (trials that have ended, megabytes, open files).
        ends: when each trial ended.
    """

    def __init__(self, every: int) -> None:
        self.rows: dict[str, list[tuple[int, float, int]]] = defaultdict(list)
        self.ends: list[float] = []
        self._every = every

    def changed(self, record: TrialRecord, time_left: float) -> None:
        """See `Observer.changed`."""
        if record.state != "complete":
            return
        self.ends.append(time.monotonic())
        if len(self.ends) % self._every:
            return
        totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])
        for pid in _descendants(os.getpid()):
            try:
                name, memory, files = _look(pid)
            except OSError:  # it ended meanwhile
                continue
            totals[name][0] += memory
            totals[name][1] += files
        for name, (memory, files) in totals.items():
            self.rows[name].append((len(self.ends), memory, int(files)))


def _descendants(root: int) -> list[int]:
    """Process ids of a process and all that it started."""
    parents: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int((entry / "stat").read_text().rpartition(")")[2].split()[1])].append(int(entry.name))
            except OSError:
                continue
    found, queue = [], [root]
    while queue:
        found.append(queue.pop())
        queue += parents[found[-1]]
    return found


def _look(pid: int) -> tuple[str, float, int]:
    """What a process is, its resident megabytes without shared pages, and its open files."""
    proc = Path("/proc", str(pid))
    title = (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    _, resident, shared = map(int, (proc / "statm").read_text().split()[:3])
    files = len(list((proc / "fd").iterdir()))
    if pid == os.getpid():
        name = "driver"
    elif title.startswith(("ray::GroupTrainable", "ray::ResourceTrainable")):  # idle, and at work
        name = f"holder {pid}"
    elif "RayTrainWorker" in title:
        name = f"worker {pid}"
    else:
        name = "rest of Ray"
    return name, (resident - shared) * PAGE / 1e6, files


def soak(folder: Path, trials: int, groups: int) -> dict[str, Any]:
    """Search with `trials` trials of one epoch on `groups` groups."""
    from nasdet.driver.study.detector_search import start_search
    from nasdet.driver.study.options import Display, SearchOptions
    from nasdet.search import StudyStore
    from nasdet.space import load_space

    watch = Watch(every=max(1, trials // 60))
    space = load_space("detnet", overrides=[*OVERRIDES, f"budget.trials={trials}", f"resources.concurrent={groups}"])
    begin = time.monotonic()
    start_search(space, SearchOptions(study=folder / "study"), Display((watch,), io.StringIO()))
    store = StudyStore.open(folder / "study")
    use = store.config.group_use
    assert use is not None
    processes = {
        name: {"memory_mb": _thirds([row[1] for row in rows]), "files": _thirds([float(row[2]) for row in rows])}
        for name, rows in sorted(watch.rows.items())
        if len(rows) >= 9  # one that was there for most of the search
    }
    return {
        "trials": len(watch.ends),
        "seconds": time.monotonic() - begin,
        "busy_share": use.busy_share,
        "starts": use.started,
        "seconds_per_trial": _thirds([b - a for a, b in zip(watch.ends, watch.ends[1:], strict=False)]),
        "overhead_seconds": _thirds([r.overhead_seconds for r in store.records() if r.rungs]),
        "processes": processes,
        "growing": [
            f"{name}: {what}"
            for name, figures in processes.items()
            for what, (_, second, third) in figures.items()
            if third > GROWTH * second + SLACK[what]
        ],
    }


def _thirds(values: list[float]) -> list[float]:
    """Medians of the first, second and last third."""
    size = max(1, len(values) // 3)
    return [round(statistics.median(part), 3) for part in (values[:size], values[size:-size] or values, values[-size:])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--groups", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nasdet-soak-", ignore_cleanup_errors=True) as name:
        result = soak(Path(name), args.trials, args.groups)
    print(json.dumps(result, indent=None if args.json else 2))
    sys.stdout.flush()
    sys.exit(1 if result["growing"] else 0)


if __name__ == "__main__":
    main()
