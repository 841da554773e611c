"""How fast the same candidates train under every split of the cores into groups, workers and threads.

    python benchmarks/core_splits.py --json      about an hour on 2 cores; the machine must have no other work
    python benchmarks/core_splits.py --json --spaces detnet --repeats 1

Each split is one search, with a Ray and groups of its own, of the first random candidates of the space, all trained in
full. Counted are the epochs between the moment at which the first group is ready and the moment at which the first one
finds no further candidate, so that neither the start nor the last, uneven candidates count. Printed for each space:
epochs per minute of each split (median over the repeats, which take turns), what the planner chooses, and its share of
the best; beside them one group of one worker with one thread, which leaves the other cores idle.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SPACES = ("detnet", "quick")


@dataclasses.dataclass(frozen=True)
class Split:
    """So many groups at once, each of so many workers with so many threads."""

    groups: int
    workers: int
    threads: int


def splits_of(cores: int) -> Iterator[Split]:
    """All ways to use every core, most groups first."""
    for groups in range(cores, 0, -1):
        for workers in range(cores // groups, 0, -1):
            if cores % (groups * workers) == 0:
                yield Split(groups, workers, cores // (groups * workers))


def epochs_per_minute(name: str, split: Split, trials: int, epochs: int) -> float:
    """Of one search."""
    import nasdet
    from nasdet.search import StudyStore

    ends: list[tuple[float, str, int]] = []
    overrides = [
        f"budget.epochs={epochs}", "budget.rungs=[]", "scheduler.kind=full", "sampler.kind=random", "points=[]",
        f"resources.threads={split.threads}", "budget.time_limit=null",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        nasdet.run_search(
            name, "digits", trials=trials, study=Path(folder, "study"), workers=split.workers, concurrent=split.groups,
            overrides=overrides, progress=False, tracking_uri=f"sqlite:///{folder}/mlflow.db",
            on_epoch_end=lambda trial, epoch, values: ends.append((time.time(), trial, epoch)),
        )  # fmt: skip
        ready = min(start.ready for start in StudyStore.open(Path(folder, "study")).config.group_starts)
    return rate(ends, ready, trials - split.groups, epochs)


def rate(ends: list[tuple[float, str, int]], ready: float, waiting: int, epochs: int) -> float:
    """Epochs per minute while every group has a candidate.

    Args:
        ends: of epochs: when, of which trial, its number.
        ready: when the first group was.
        waiting: candidates that are left when every group has got its first one.
        epochs: of each candidate.
    """
    over = sorted(when for when, _, epoch in ends if epoch == epochs)
    end = over[waiting]  # the group that has trained this one finds no further candidate
    return 60 * sum(when <= end for when, _, _ in ends) / (end - ready)


def compare(name: str, splits: list[Split], trials: int, epochs: int, repeats: int) -> dict[str, Any]:
    """All splits of one space beside the planner's choice."""
    from nasdet.driver.planner import make_plan
    from nasdet.driver.resources import this_machine
    from nasdet.space import load_space

    plan = make_plan(load_space(name), [this_machine()])
    planned = Split(plan.concurrent, plan.workers, plan.threads)
    found: dict[Split, list[float]] = {split: [] for split in dict.fromkeys((*splits, planned))}
    for _ in range(repeats):
        for split, rates in found.items():
            rates.append(epochs_per_minute(name, split, trials, epochs))
            print(f"{name} {split}: {rates[-1]:.1f} epochs a minute", file=sys.stderr)
    medians = {split: statistics.median(rates) for split, rates in found.items()}
    best = max(medians, key=lambda split: medians[split])
    return {
        "splits": [{**dataclasses.asdict(split), "epochs_per_minute": value} for split, value in medians.items()],
        "planned": dataclasses.asdict(planned),
        "best": dataclasses.asdict(best),
        "planned_share_of_best": medians[planned] / medians[best],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--spaces", nargs="+", default=list(SPACES))
    parser.add_argument("--trials", type=int, default=12, help="candidates of each search")
    parser.add_argument("--epochs", type=int, default=2, help="of each candidate")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--splits", nargs="+", metavar="GxWxT", help="only these: groups x workers x threads")
    parser.add_argument("--smoke", action="store_true", help="two candidates of one epoch under the planner's choice")
    options = parser.parse_args()
    from nasdet.driver.resources import cpu_count

    cores = cpu_count()
    if options.smoke:
        spaces, work, splits = ["detnet"], (cores + 1, 1, 1), []
    else:
        spaces, work = options.spaces, (options.trials, options.epochs, options.repeats)
        asked = [Split(*map(int, text.split("x"))) for text in options.splits or ()]
        splits = asked or list(dict.fromkeys((*splits_of(cores), Split(1, 1, 1))))
    result = {"cores": cores, "spaces": {name: compare(name, splits, *work) for name in spaces}}
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
