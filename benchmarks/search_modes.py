"""Structure and recipe searched together or one after the other, at equal budget, on learning curves of LCBench.

    python benchmarks/search_modes.py --json                           10 tasks, 3 seeds, 1,040 epochs: half an hour

Layers and units are structure, the five others recipe; all else is as in search_efficiency.py: the default scheduler,
accuracy against size, one worker, regret to the best front known. Figures are medians over tasks of medians over seeds.

One decision: the budget is small (1,040 epochs, 20 full trainings' worth), where the order of the stages matters most;
finished runs are lines in a file under a key that holds the engine's source.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from lcbench import DEVELOPMENT, EPOCHS, Task, find_data, size_of, space
from search_efficiency import CACHE, RUNGS, Cache, curve_of, engine_source, log_regret

from nasdet.errors import NasdetError
from nasdet.search import simulate

MODES = ("joint", "structure_first", "recipe_first")
STRUCTURE = ["num_layers", "max_units"]
ROWS = CACHE.with_name("search_modes.jsonl")


def curve(task: str, mode: str, seed: int, total: int, corner: list[float]) -> list[tuple[int, float]]:
    """(epochs, hypervolume) of one search, wherever it grew."""
    known = Task(task)
    where = space(RUNGS, total, mode={"kind": mode, "structure": STRUCTURE})
    done = simulate(known.evaluate, where, workers=1, costs=lambda params: {"size": size_of(params)}, seed=seed)
    return curve_of(((told.epochs, told.values) for told in done.history if told.stop == EPOCHS), corner)


def run(rows: Cache, task: str, seeds: int, total: int) -> dict[str, list[float]]:
    """Mode -> log10 regret of each seed at the end of the budget."""
    reference = rows.made(f"{task} reference", Task(task).reference)
    found: dict[str, list[float]] = {mode: [] for mode in MODES}
    for mode in MODES:
        for seed in range(seeds):
            key = f"{task} {mode} seed{seed} epochs{total} {engine_source()}"
            grown = rows.made(key, functools.partial(curve, task, mode, seed, total, reference["point"]))
            found[mode].append(log_regret(grown, reference["best_hypervolume"], total))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--tasks", nargs="+", default=DEVELOPMENT)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1040, help="of all candidates together")
    parser.add_argument("--rows", type=Path, default=ROWS, help="file of finished searches")
    options = parser.parse_args()
    try:
        find_data()
    except NasdetError as error:
        sys.exit(f"search_modes: {error}")
    rows = Cache(options.rows)
    tasks: dict[str, dict[str, Any]] = {t: run(rows, t, options.seeds, options.epochs) for t in options.tasks}
    medians = {t: {m: statistics.median(v) for m, v in found.items()} for t, found in tasks.items()}
    result = {
        "log_hv_regret": {m: statistics.median(found[m] for found in medians.values()) for m in MODES},
        "mean_log_hv_regret": {m: statistics.fmean(found[m] for found in medians.values()) for m in MODES},
        "best_on": {m: sum(min(f, key=f.__getitem__) == m for f in medians.values()) for m in MODES},
        "tasks": medians,
        "seeds": options.seeds,
        "epochs": options.epochs,
    }
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
