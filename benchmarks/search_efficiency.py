"""How many epochs a search needs to reach a given hypervolume, on learning curves of LCBench.

    python benchmarks/search_efficiency.py --json                          every method, 1 worker, 3 seeds: hours
    python benchmarks/search_efficiency.py --json --methods nasdet tpe --tasks 3945 7593 --seeds 2      5 minutes

Accuracy at 52 epochs is maximised, log10 of the network's size minimised; the size is known before training. Only
configurations trained in full count. A run spends 5,200 epochs, those of stopped configurations included. The reference
front is that of 60,000 random configurations, the reference point (5th percentile of their accuracy, largest size). A
run that never reaches 95% of the reference front's hypervolume counts as 5,200 epochs; `epochs_to_95_uncut` is what
random search needs if it may continue to 208,000. Log regret is log10 of the share of hypervolume that is missing to
the best front known (the reference front after local search), at least 1e-4.

Every method is driven by the same virtual clock. A finished run is a line in a file, under a key that holds a digest of
the search's source, so that an interrupted benchmark can continue and a changed engine is measured again.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import heapq
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lcbench import DEVELOPMENT, EPOCHS, Task, find_data, size_of, space, task_names

from nasdet.errors import NasdetError
from nasdet.pareto import hypervolume

TOTAL = 5200
UNCUT = 40 * TOTAL
RUNGS = (3, 12, 52)
HELD_OUT = ("126025", "146212", "167161", "167184", "167200", "168331", "189354", "189908")
"""Tasks that nothing was tuned on."""
CACHE = Path(__file__).with_name(".cache") / "search_efficiency.jsonl"
Curve = list[tuple[int, float]]
"""(epochs so far, hypervolume) wherever the hypervolume grew."""


def nasdet(task: Task, seed: int, workers: int) -> list[tuple[int, dict[str, float]]]:
    """The default of a space of one's own function."""
    return _simulated(task, seed, workers)


def moasha_random(task: Task, seed: int, workers: int) -> list[tuple[int, dict[str, float]]]:
    """Asynchronous successive halving over fronts, random proposals."""
    return _simulated(task, seed, workers, scheduler={"kind": "halving", "eta": 4}, sampler={"kind": "random"})


def moasha_tpe(task: Task, seed: int, workers: int) -> list[tuple[int, dict[str, float]]]:
    """The same with proposals of multivariate TPE."""
    return _simulated(task, seed, workers, scheduler={"kind": "halving", "eta": 4}, sampler={"kind": "tpe"})


def tpe(task: Task, seed: int, workers: int) -> list[tuple[int, dict[str, float]]]:
    """Optuna's TPE at full fidelity, with constant liar where several workers run."""
    import optuna

    return _full(task, optuna.samplers.TPESampler(seed=seed, constant_liar=workers > 1), workers)


def nsga2(task: Task, seed: int, workers: int) -> list[tuple[int, dict[str, float]]]:
    """Optuna's NSGA-II at full fidelity."""
    import optuna

    return _full(task, optuna.samplers.NSGAIISampler(seed=seed), workers)


def random(task: Task, seed: int, workers: int) -> list[tuple[int, dict[str, float]]]:
    """Random search at full fidelity."""
    import optuna

    return _full(task, optuna.samplers.RandomSampler(seed=seed), workers)


METHODS: dict[str, Callable[[Task, int, int], list[tuple[int, dict[str, float]]]]] = {
    f.__name__: f for f in (nasdet, tpe, nsga2, random, moasha_random, moasha_tpe)
}


def _simulated(task: Task, seed: int, workers: int, **more: Any) -> list[tuple[int, dict[str, float]]]:
    from nasdet.search import simulate

    done = simulate(
        task.evaluate,
        space(RUNGS, TOTAL, **more),
        workers=workers,
        costs=lambda params: {"size": size_of(params)},
        seed=seed,
    )
    return [(result.epochs, result.values) for result in done.history if result.stop == EPOCHS]


def _full(task: Task, sampler: Any, workers: int) -> list[tuple[int, dict[str, float]]]:
    import optuna

    from nasdet.search.samplers.distributions import suggest

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    parameters, running, found = space((EPOCHS,), TOTAL).parameters, [], []
    for number in range(TOTAL // EPOCHS):
        if len(running) == workers:
            _finish(study, task, running, found)
        trial = study.ask()
        params = {name: suggest(trial, name, domain) for name, domain in parameters.items()}
        heapq.heappush(running, (number // workers, number, trial, params))
    while running:
        _finish(study, task, running, found)
    return found


def _finish(study: Any, task: Task, running: list[Any], found: list[tuple[int, dict[str, float]]]) -> None:
    *_, trial, params = heapq.heappop(running)
    values = task.evaluate(params, EPOCHS)
    study.tell(trial, [values["accuracy"], values["size"]])
    found.append(((len(found) + 1) * EPOCHS, values))


def curve_of(points: Iterable[tuple[int, dict[str, float]]], corner: Sequence[float]) -> Curve:
    """The hypervolume's growth over epochs, to the reference point (accuracy, size)."""
    low = np.array([-corner[0], corner[1]])
    costs: list[list[float]] = []
    curve: Curve = [(0, 0.0)]
    for epochs, values in points:
        costs.append([-values["accuracy"], values["size"]])
        volume = hypervolume(costs, low)
        if volume > curve[-1][1]:
            curve.append((epochs, volume))
    return curve


def epochs_to(curve: Curve, volume: float) -> int:
    """Epochs until the hypervolume was reached; the whole budget if it never was."""
    return next((epochs for epochs, v in curve if v >= volume), TOTAL)


def log_regret(curve: Curve, best: float, epochs: int) -> float:
    """log10 of the share of the best hypervolume that lacked at this many epochs."""
    reached = max(v for e, v in curve if e <= epochs)
    return float(np.log10(max(1 - reached / best, 1e-4)))


class Cache:
    """Finished runs and reference fronts, one JSON line each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, Any] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                self.values[entry["key"]] = entry["value"]

    def made(self, key: str, make: Callable[[], Any]) -> Any:
        """The value under a key, made and put there if it is new."""
        if key not in self.values:
            self.put(key, make())
            print(key, file=sys.stderr, flush=True)
        return self.values[key]

    def put(self, key: str, value: Any) -> None:
        """Add one; durable when this returns."""
        self.values[key] = value
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps({"key": key, "value": value}) + "\n")


@functools.cache
def engine_source() -> str:
    """Digest of the search's source: a changed engine is measured again."""
    import nasdet.search

    files = sorted(Path(nasdet.search.__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:12]


def _key(task: str, method: str, seed: int, workers: int) -> str:
    own = f" {engine_source()}" if method in ("nasdet", "moasha_random", "moasha_tpe") else ""
    return f"{task} {method} seed{seed} workers{workers}{own}"


def _reference(task: str) -> tuple[str, Any]:
    return f"{task} reference", Task(task).reference()


def _uncut_key(task: str, seed: int) -> str:
    return f"{task} random uncut seed{seed}"


def _uncut(job: tuple[str, int, list[float], float]) -> tuple[str, Any]:
    name, seed, corner, goal = job
    return _uncut_key(name, seed), Task(name).random_epochs(seed, corner, goal, UNCUT)


def _goal(reference: dict[str, Any]) -> float:
    return 0.95 * float(reference["hypervolume"])


def _run(job: tuple[str, str, int, int, list[float]]) -> tuple[str, Any]:
    name, method, seed, workers, corner = job
    start = time.perf_counter()
    curve = curve_of(METHODS[method](Task(name), seed, workers), corner)
    return _key(name, method, seed, workers), {"curve": curve, "seconds": round(time.perf_counter() - start, 2)}


def run_all(
    cache: Cache, tasks: Sequence[str], methods: Sequence[str], seeds: int, workers: int, processes: int
) -> None:
    """Run what is not in the cache yet."""
    with contextlib.ExitStack() as stack:
        side_by_side = map
        if processes > 1:
            side_by_side = stack.enter_context(multiprocessing.get_context("spawn").Pool(processes)).imap_unordered
        missing = [t for t in tasks if f"{t} reference" not in cache.values]
        for key, value in side_by_side(_reference, missing):
            cache.put(key, value)
        wanted = [(t, m, s) for s in range(seeds) for m in methods for t in tasks]
        jobs = [(*w, workers, cache.values[f"{w[0]} reference"]["point"]) for w in wanted]
        jobs = [j for j in jobs if _key(*j[:4]) not in cache.values]
        for done, (key, value) in enumerate(side_by_side(_run, jobs), 1):
            cache.put(key, value)
            print(f"{done}/{len(jobs)} {key} {value['seconds']:.0f} s", file=sys.stderr, flush=True)
        if "random" in methods:
            references = {t: cache.values[f"{t} reference"] for t in tasks}
            uncut = [(t, s, r["point"], _goal(r)) for t, r in references.items() for s in range(seeds)]
            for key, value in side_by_side(_uncut, [u for u in uncut if _uncut_key(*u[:2]) not in cache.values]):
                cache.put(key, value)


def figures(cache: Cache, task: str, methods: Sequence[str], seeds: int, workers: int) -> dict[str, dict[str, Any]]:
    """metric -> method -> one value per seed."""
    reference = cache.values[f"{task} reference"]
    curves = {m: [cache.values[_key(task, m, s, workers)]["curve"] for s in range(seeds)] for m in methods}
    goal = _goal(reference)
    found: dict[str, dict[str, Any]] = {
        "epochs_to_95": {m: [epochs_to(c, goal) for c in runs] for m, runs in curves.items()},
        "log_hv_regret_1040": {
            m: [log_regret(c, reference["best_hypervolume"], 1040) for c in r] for m, r in curves.items()
        },
        "log_hv_regret": {
            m: [log_regret(c, reference["best_hypervolume"], TOTAL) for c in r] for m, r in curves.items()
        },
    }
    if "random" in curves:
        found["epochs_to_95_uncut"] = {"random": [cache.values[_uncut_key(task, s)] for s in range(seeds)]}
    if "tpe" in curves:
        final = float(np.median([c[-1][1] for c in curves["tpe"]]))
        found["epochs_to_tpe_final"] = {m: [epochs_to(c, final) for c in runs] for m, runs in curves.items()}
    return found


def summary(by_task: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Medians over tasks of the medians over seeds, a 90% bootstrap interval over tasks, and the worst seed."""
    rng = np.random.default_rng(0)
    medians: dict[str, Any] = {}
    intervals: dict[str, Any] = {}
    worst: dict[str, Any] = {}
    for metric, methods in next(iter(by_task.values())).items():
        for method in methods:
            values = np.array([np.median(figures[metric][method]) for figures in by_task.values()])
            drawn = np.median(values[rng.integers(len(values), size=(2000, len(values)))], axis=1)
            medians.setdefault(metric, {})[method] = float(np.median(values))
            intervals.setdefault(metric, {})[method] = [float(v) for v in np.percentile(drawn, [5, 95])]
            worst.setdefault(metric, {})[method] = float(max(max(f[metric][method]) for f in by_task.values()))
    return {"summary": medians, "intervals": intervals, "worst_seed": worst}


def report(cache: Cache, tasks: Sequence[str], methods: Sequence[str], seeds: int, workers: int) -> dict[str, Any]:
    """The result for a list of tasks, as printed."""
    by_task = {t: figures(cache, t, methods, seeds, workers) for t in tasks}
    shown = {
        t: {metric: {m: float(np.median(v)) for m, v in values.items()} for metric, values in found.items()}
        for t, found in by_task.items()
    }
    return {**summary(by_task), "tasks": shown}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--tasks", nargs="+", help="names, or all; left out: development and held-out tasks, apart")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="simulated asynchronous workers")
    parser.add_argument("--processes", type=int, default=1, help="runs at once")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    try:
        find_data()
    except NasdetError as error:
        sys.exit(f"search_efficiency: {error}")
    known = task_names()
    wanted = known if options.tasks == ["all"] else options.tasks
    if unknown := set(wanted or ()) - set(known):
        sys.exit(f"search_efficiency: no task {sorted(unknown)[0]!r}; there are {', '.join(known)}")
    cache = Cache(options.cache)
    rest = (options.methods, options.seeds, options.workers)
    run_all(cache, wanted or [*DEVELOPMENT, *HELD_OUT], *rest, options.processes)
    result = report(cache, wanted or DEVELOPMENT, *rest)
    if not wanted:
        result["held_out"] = report(cache, HELD_OUT, *rest)
    result |= {"workers": options.workers, "seeds": options.seeds, "epochs": TOTAL}
    print(json.dumps(result, indent=1) if options.json else _table(result))


def _table(result: dict[str, Any]) -> str:
    columns = list(result["summary"]["epochs_to_95"])
    lines = [f"{'':>22}" + "".join(f"{m:>16}" for m in columns)]
    for metric, of in result["summary"].items():
        lines.append(f"{metric:>22}" + "".join(f"{of[m]:>16.4g}" if m in of else f"{'':>16}" for m in columns))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
