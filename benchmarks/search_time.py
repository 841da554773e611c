"""Searches under a time limit, where candidates differ in seconds per epoch, on learning curves of LCBench.

    python benchmarks/search_time.py --json                    6 tasks, 3 seeds, time for 5 full trainings: 10 minutes
    python benchmarks/search_time.py --json --full-trainings 12 --workers 8

LCBench's accuracy against size is made to look like a short search for detectors: rungs at 13, 26 and 52 epochs, 16
more parameters without any effect, sizes that are only known after a candidate's first result, and seconds per epoch
that grow with the size and fall with the batch. `--full-trainings` is the time limit in full trainings of random
candidates. Figures are means over tasks and seeds of log10 of the share of hypervolume that is missing to the best
front known (0: nothing was trained in full yet), after a quarter, half and all of the time.

Finished runs are lines in a file under a key that holds a digest of the search's source.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import statistics
import sys
from pathlib import Path
from typing import Any

from lcbench import DEVELOPMENT, EPOCHS, SPACE, Task, find_data, size_of
from search_efficiency import CACHE, Cache, curve_of, engine_source, log_regret

from nasdet.errors import NasdetError
from nasdet.search import Job, simulate
from nasdet.space import Params, SearchSpace, parse_space

METHODS: dict[str, dict[str, Any]] = {
    "freeze_thaw": {"scheduler": {"kind": "freeze_thaw"}},
    "halving_tpe": {"scheduler": {"kind": "halving"}, "sampler": {"kind": "tpe"}},
    "halving_random": {"scheduler": {"kind": "halving"}, "sampler": {"kind": "random"}},
    "tpe": {"scheduler": {"kind": "full"}, "sampler": {"kind": "tpe"}},
    "random": {"scheduler": {"kind": "full"}, "sampler": {"kind": "random"}},
}
RUNGS = (13, 26, EPOCHS)
WITHOUT_EFFECT = 16
SHARES = (0.25, 0.5, 1.0)
STEPS = 10_000
"""Parts of the time that curves are counted in."""
ROWS = CACHE.with_name("search_time.jsonl")


def pace(params: Params) -> float:
    """Seconds per epoch."""
    return float((0.2 + 10 ** (size_of(params) - 4.5)) * (64 / params["batch_size"]) ** 0.5)


def timed_space(method: str, full_trainings: float) -> SearchSpace:
    """The space with a time limit of `full_trainings` average full trainings of random candidates."""
    more = {f"z{i}": {"kind": "float", "low": 0.0, "high": 1.0} for i in range(WITHOUT_EFFECT)}
    raw = {**SPACE, "space": {**SPACE["space"], **more}, **METHODS[method]}
    budget = {"epochs": EPOCHS, "rungs": list(RUNGS)}
    space, rng = parse_space({**raw, "budget": budget}, function=True), random.Random(0)
    limit = full_trainings * EPOCHS * statistics.fmean(pace(space.sample(rng)) for _ in range(2000))
    return parse_space({**raw, "budget": {**budget, "time_limit": limit}}, function=True)


def curve(task: str, method: str, seed: int, full_trainings: float, workers: int, corner: list[float]) -> Any:
    """(time in `STEPS`, hypervolume) of one search, each time that the hypervolume grew."""
    space = timed_space(method, full_trainings)
    limit = space.budget.time_limit
    assert limit is not None

    def seconds(job: Job) -> float:
        return pace(job.params) * (job.stop - job.record.epochs)

    history = simulate(Task(task).evaluate, space, workers=workers, seed=seed, seconds=seconds).history
    timely = [t for t in history if t.stop == EPOCHS and t.time <= limit]
    return curve_of(((round(STEPS * t.time / limit), t.values) for t in timely), corner)


def run(rows: Cache, task: str, method: str, seeds: int, full_trainings: float, workers: int) -> list[list[float]]:
    """Regret after each of `SHARES` of every seed."""
    reference = rows.made(f"{task} reference", Task(task).reference)
    make, regrets = functools.partial(curve, task, method), []
    for seed in range(seeds):
        key = f"{task} {method} seed{seed} time{full_trainings:g} workers{workers} {engine_source()}"
        grown = rows.made(key, functools.partial(make, seed, full_trainings, workers, reference["point"]))
        regrets.append([log_regret(grown, reference["best_hypervolume"], round(share * STEPS)) for share in SHARES])
    return regrets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--tasks", nargs="+", default=DEVELOPMENT[:6])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--full-trainings", type=float, default=5.0, help="of random candidates that there is time for")
    parser.add_argument("--workers", type=int, default=1, help="simulated asynchronous workers")
    parser.add_argument("--rows", type=Path, default=ROWS, help="file of finished searches")
    options = parser.parse_args()
    try:
        find_data()
    except NasdetError as error:
        sys.exit(f"search_time: {error}")
    rows, rest = Cache(options.rows), (options.seeds, options.full_trainings, options.workers)
    regrets = {m: [r for t in options.tasks for r in run(rows, t, m, *rest)] for m in options.methods}
    result = {
        "log_hv_regret": {
            m: {f"{share:.0%}": statistics.fmean(r[i] for r in found) for i, share in enumerate(SHARES)}
            for m, found in regrets.items()
        },
        "worst_at_end": {m: max(r[-1] for r in found) for m, found in regrets.items()},
        "seeds": options.seeds,
        "full_trainings": options.full_trainings,
        "workers": options.workers,
    }
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
