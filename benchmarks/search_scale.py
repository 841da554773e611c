"""What the search engine costs when a study is long: seconds of a decision, memory, and MLflow.

    python benchmarks/search_scale.py --json                                  everything, about an hour
    python benchmarks/search_scale.py --json --told 100 1000 --only halving   some of it
    python benchmarks/search_scale.py --json --quality                        whether bounding the history costs quality

`ask_tell_ms` is the median over `--repeats` of one `Study.ask` and one `Study.tell`, in a study with results of
`--told` trials, 64 pending trials, 15 parameters of which 4 are conditional, 3 objectives and a constraint; `memory_mb`
is the peak of the process. Both are the largest of the schedulers and samplers that `auto` can choose; `samplers` has
all of them. `tracking_ms` is the time from the first event until MLflow holds everything, divided by the trials;
`tracking` says how much of it the search waits for. `observers_ms` is what one event costs the search in the terminal's
progress and the clean-up of files. `--quality` compares TPE's hypervolume after `--trials` trials, as a share of the
best possible one, with a bounded and with an unbounded history for its sampler.

One decision: every cell is a process of its own, because memory is measured, and its history is made up instead of
searched for, because ten thousand decisions would take hours.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from nasdet.search import MemoryStore, SearchSpace, Study, StudyStore, parse_space
from nasdet.search.samplers import SAMPLERS
from nasdet.search.samplers.optuna_samplers import MAX_HISTORY
from nasdet.search.schedulers import SCHEDULERS
from nasdet.search.schedulers.halving import order_by_hypervolume
from nasdet.space import Constraint
from nasdet.study_config import StudyConfig
from nasdet.trial import Rung, TrialRecord

TOLD = (100, 1000, 10_000)
PENDING = 64
RUNGS = (3, 9, 27)
REFERENCE = [0.0, 16.0, 22.0]
PARAMETERS: dict[str, Any] = {
    "width": {"kind": "float", "low": 0.0, "high": 1.0},
    "resolution": {"kind": "float", "low": 0.0, "high": 1.0},
    "depth": {"kind": "int", "low": 1, "high": 8},
    "kernel": {"kind": "choice", "values": [3, 5, 7]},
    "norm": {"kind": "choice", "values": ["batch", "group", "layer"]},
    "groups": {"kind": "int", "low": 2, "high": 32, "log": True, "when": {"norm": "group"}},
    "optimiser": {"kind": "choice", "values": ["sgd", "adam"]},
    "momentum": {"kind": "float", "low": 0.5, "high": 0.99, "when": {"optimiser": "sgd"}},
    "beta": {"kind": "float", "low": 0.8, "high": 0.99, "when": {"optimiser": "adam"}},
    "lr": {"kind": "float", "low": 1e-4, "high": 1.0, "log": True},
    "decay": {"kind": "float", "low": 1e-6, "high": 1e-2, "log": True},
    "dropout": {"kind": "float", "low": 0.0, "high": 0.5},
    "flip": {"kind": "float", "low": 0.0, "high": 1.0},
    "mixing": {"kind": "choice", "values": ["none", "mosaic", "mixup"]},
    "mix_share": {"kind": "float", "low": 0.0, "high": 1.0, "when": {"mixing": ["mosaic", "mixup"]}},
}
OBJECTIVES = (("ap", "max"), ("latency_ms", "min"), ("params_m", "min"))
BOUND = Constraint("latency_ms", "<=", 12.0)


def space(scheduler: str, sampler: str, **budget: Any) -> SearchSpace:
    """15 parameters, 3 objectives and a constraint."""
    document = {
        "name": "scale",
        "space": PARAMETERS,
        "objectives": [{"name": n, "direction": d} for n, d in OBJECTIVES],
        "budget": {"epochs": RUNGS[-1], "rungs": list(RUNGS), "seed": 0, **budget},
        "scheduler": {"kind": scheduler},
        "sampler": {"kind": sampler},
    }
    return dataclasses.replace(parse_space(document, function=True), constraints=(BOUND,))


def costs(params: dict[str, Any]) -> dict[str, float]:
    """Known before training."""
    return {
        "latency_ms": 2 + 10 * params["width"] * (0.3 + params["resolution"]),
        "params_m": 1 + 20 * params["width"],
    }


def evaluate(params: dict[str, Any], epochs: int) -> dict[str, float]:
    """Larger is better, up to a recipe that is best for every size."""
    recipe = (
        (math.log10(params["lr"]) + 2) ** 2 / 8
        + (math.log10(params["decay"]) + 4) ** 2 / 16
        + params["dropout"] ** 2
        + (params["flip"] - 0.5) ** 2
        + 0.1 * (params["norm"] != "group")
        + 0.1 * (params["kernel"] != 5)
        + abs(params["depth"] - 5) / 20
    )
    return {"ap": _best_ap(params["width"], params["resolution"]) / (1 + recipe) * epochs / (epochs + 3)} | costs(
        params
    )


def _best_ap(width: float, resolution: float) -> float:
    return (1 - math.exp(-3 * (width + 0.05))) * (0.5 + 0.5 * resolution)


def records(where: SearchSpace, told: int) -> list[TrialRecord]:
    """`told` trials with results, promoted as successive halving would have, some infeasible ones, and 64 running
    ones."""
    rng = random.Random(0)
    drawn: list[TrialRecord] = []
    while sum(r.state == "running" for r in drawn) < told + PENDING:
        params = where.sample(rng)
        known, number = costs(params), len(drawn)
        record = TrialRecord(f"t{number:04d}", number, "running", params, values=known)
        if BOUND.holds(known):
            drawn.append(record)
        elif number % 20 == 0:
            drawn.append(record.replace(state="infeasible", reason=f"violates {BOUND}"))
    feasible = [r for r in drawn if r.state == "running"]
    return _trained(drawn, feasible[:told], where.rungs(), where.scheduler.eta)


def _trained(drawn: list[TrialRecord], group: list[TrialRecord], rungs: tuple[int, ...], eta: int) -> list[TrialRecord]:
    """`drawn` with all of the group trained to the first rung, the best share of them to the second, and so on."""
    found, told = {r.trial: r for r in drawn}, 0
    for epochs in rungs:
        for i, record in enumerate(group):
            values = evaluate(record.params, epochs)
            group[i] = found[record.trial] = record.replace(
                state="complete" if epochs == rungs[-1] else "paused",
                values=values,
                epochs=epochs,
                rungs=(*record.rungs, Rung(epochs, values, told)),
                train_seconds=1.0 * epochs,
            )
            told += 1
        table = np.array([[-r.values["ap"], r.values["latency_ms"], r.values["params_m"]] for r in group])
        count = len(group) // eta
        best = order_by_hypervolume(table, np.array([-REFERENCE[0], *REFERENCE[1:]]), count)[:count]
        group = [group[i] for i in best]
    return list(found.values())


def ask_tell(scheduler: str, sampler: str, told: int, repeats: int, *, known: bool, disk: bool) -> dict[str, float]:
    """Median milliseconds of an ask and a tell, by the clock and of processor time, and this process's peak in MB."""
    with tempfile.TemporaryDirectory() as folder:
        where = space(scheduler, sampler)
        memory = MemoryStore(where, records(where, told))
        store = _on_disk(Path(folder, "study"), memory) if disk else memory
        store.save_config(reference_point=REFERENCE, reference_given=True)
        study = Study(where, costs=costs if known else None, store=store)
        pending = [study.ask() for _ in range(PENDING)]  # those that run are handed out first
        times, cpu = [], []
        for _ in range(repeats + 1):
            start, began = time.perf_counter(), time.process_time()
            pending.append(study.ask())
            job = pending.pop(0)
            assert job is not None
            study.tell(job, evaluate(job.params, job.stop), seconds=1.0)
            times.append((time.perf_counter() - start) * 1e3)
            cpu.append((time.process_time() - began) * 1e3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    middle = {"ms": round(statistics.median(times[1:]), 2), "cpu_ms": round(statistics.median(cpu[1:]), 2)}
    return {**middle, "worst_ms": round(max(times), 1), "mb": round(peak, 1)}


def _on_disk(folder: Path, of: MemoryStore) -> StudyStore:
    store = StudyStore.create(folder, of.config, of.space)
    for record in of.records():
        store.put(record)
    return store


def tracking(told: int) -> dict[str, float]:
    """Milliseconds a trial, by the clock and of processor time, until MLflow holds a study of so many trials, import
    and new tables included; and those that the search waits."""
    from nasdet.driver.observers.mlflow_mirror import MlflowMirror

    where = space("full", "random")
    with tempfile.TemporaryDirectory() as folder:
        store = StudyStore.create(Path(folder, "studies", "scale"), StudyConfig(study="scale", data=""), where)
        store.save_config(reference_point=REFERENCE)
        observer, waited = MlflowMirror(store, lambda line: print(line, file=sys.stderr)), 0.0
        begin, began = time.perf_counter(), time.process_time()
        for record in records(where, told):
            if record.state != "complete":
                continue
            store.ledger.put(record)  # what the study's own storage takes is no part of this
            start = time.perf_counter()
            observer.epoch(record, record.epochs, {"loss": 1.0, "lr": 0.1})
            observer.changed(record, math.inf)
            waited += time.perf_counter() - start
        observer.close("FINISHED", timeout=3600)
        written, cpu = time.perf_counter() - begin, time.process_time() - began
    spent = {"ms": written, "cpu_ms": cpu, "search_waits_ms": waited}
    return {name: round(seconds * 1e3 / told, 3) for name, seconds in spent.items()}


def observers(told: int, repeats: int) -> dict[str, float]:
    """Median milliseconds of processor time that one event costs in progress, its last line drawn once, and in the
    clean-up, when `told` trials have results and folders; `first_ms`: the first event, which looks at all of them."""
    from types import SimpleNamespace

    from nasdet.driver.observers.cleanup import Housekeeping
    from nasdet.driver.observers.progress import Progress
    from nasdet.search.engine.engine import Engine
    from nasdet.search.engine.study import candidates

    where = space("halving", "random")
    with tempfile.TemporaryDirectory() as name, Path(name, "terminal").open("w") as terminal:
        store: Any = MemoryStore(where, records(where, told))
        store.dir, store.trial_dir = Path(name), lambda trial: Path(name, "trials", trial)
        store.save_config(reference_point=REFERENCE)
        for record in store.records():
            if record.rungs:
                store.trial_dir(record.trial).mkdir(parents=True)
                (store.trial_dir(record.trial) / "checkpoint.pt").touch()
                (store.trial_dir(record.trial) / "weights.safetensors").touch()
        info = SimpleNamespace(splits={}, name="none", classes=())
        progress, cleanup = Progress(terminal), Housekeeping(store, Engine(store, candidates(None)))
        progress.start(store, SimpleNamespace(info=info), SimpleNamespace(describe=lambda: ""))  # type: ignore[arg-type]
        times: dict[str, list[float]] = {"progress": [], "cleanup": []}
        running = [r for r in store.records() if r.state == "running"]
        for number in range(repeats + 1):
            record = running[number % len(running)]
            stop = RUNGS[number // len(running) % len(RUNGS)]
            values, state = evaluate(record.params, stop), "complete" if number % 3 == 0 else "paused"
            record = record.replace(trial=f"n{number}", number=len(store.ledger), state=state, values=values)
            store.put(record.replace(rungs=(Rung(stop, values, told + number),), epochs=stop))
            record = store.get(record.trial)
            for observer, spent in ((progress, times["progress"]), (cleanup, times["cleanup"])):
                start = time.process_time()
                observer.changed(record, math.inf)
                if observer is progress:
                    progress._line()  # as the display does, twice a second
                spent.append((time.process_time() - start) * 1e3)
    middle = {f"{name}_ms": round(statistics.median(spent[1:]), 3) for name, spent in times.items()}
    return {**middle, "first_ms": round(sum(spent[0] for spent in times.values()), 1)}


def quality(trials: int, seed: int, bound: int | None) -> dict[str, float]:
    """TPE's hypervolume after `trials` full trainings, as a share of the best possible one."""
    from nasdet.search import simulate
    from nasdet.search.samplers import optuna_samplers

    optuna_samplers.MAX_HISTORY = sys.maxsize if bound is None else bound
    where = space("full", "tpe", trials=trials)
    begin = time.perf_counter()
    found = simulate(evaluate, where, workers=1, costs=costs, seed=seed, reference=REFERENCE).study.summary()
    return {"share": found.hypervolume / _best_hypervolume(), "seconds": round(time.perf_counter() - begin, 1)}


def _best_hypervolume(steps: int = 60) -> float:
    """Of the best recipe at every size, on a grid."""
    from nasdet.pareto import hypervolume, non_dominated

    trained = RUNGS[-1] / (RUNGS[-1] + 3)
    sizes = [{"width": i / steps, "resolution": j / steps} for i in range(steps + 1) for j in range(steps + 1)]
    points = [[-_best_ap(**s) * trained, *costs(s).values()] for s in sizes if BOUND.holds(costs(s))]
    on = non_dominated(points, ["min"] * 3)
    return hypervolume([p for p, stays in zip(points, on, strict=True) if stays], [-REFERENCE[0], *REFERENCE[1:]])


def cells(only: str) -> dict[str, dict[str, Any]]:
    """Every scheduler with every sampler that it uses, by name."""
    found: dict[str, dict[str, Any]] = {}
    for scheduler in SCHEDULERS:
        for sampler in ("auto",) if scheduler == "freeze_thaw" else ("auto", *SAMPLERS):
            found[f"{scheduler} {sampler}"] = {"scheduler": scheduler, "sampler": sampler, "known": True, "disk": False}
    found["freeze_thaw auto, costs learnt"] = {**found["freeze_thaw auto"], "known": False}
    found["halving auto, on disk"] = {**found["halving auto"], "disk": True}
    return {name: cell for name, cell in found.items() if only in name}


def measure(function: str, **arguments: Any) -> dict[str, float]:
    """Call a function of this file in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--call", function, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"search_scale: {function} {arguments} failed\n{done.stderr[-2000:]}")
    print(f"{function} {arguments}: {done.stdout.strip()}", file=sys.stderr, flush=True)
    return dict(json.loads(done.stdout))


def report(told: list[int], repeats: int, only: str) -> dict[str, Any]:
    """The result without `--quality`."""
    found = {
        name: {str(n): measure("ask_tell", **cell, told=n, repeats=repeats) for n in told}
        for name, cell in cells(only).items()
    }
    auto = {name: by_told for name, by_told in found.items() if name.split(",")[0].endswith(" auto")} or found
    result: dict[str, Any] = {"ask_tell_ms": {}, "memory_mb": {}}
    for n in map(str, told):
        result["ask_tell_ms"][n] = max((v[n]["ms"] for v in auto.values()), default=None)
        result["memory_mb"][n] = max((v[n]["mb"] for v in auto.values()), default=None)
    tracked = {str(n): measure("tracking", told=n) for n in told}
    result["tracking_ms"] = {n: v["ms"] for n, v in tracked.items()}
    watched = {str(n): measure("observers", told=n, repeats=repeats) for n in told}
    result["observers_ms"] = {n: round(v["progress_ms"] + v["cleanup_ms"], 3) for n, v in watched.items()}
    return {**result, "samplers": found, "tracking": tracked, "observers": watched}


def compare(trials: int, seeds: int, most: int) -> dict[str, Any]:
    """The result with `--quality`."""
    runs = {
        name: [measure("quality", trials=trials, seed=s, bound=bound) for s in range(seeds)]
        for name, bound in (("bounded", most), ("unbounded", None))
    }
    shares = {name: [r["share"] for r in found] for name, found in runs.items()}
    if trials >= 2 * most and shares["bounded"] == shares["unbounded"]:
        sys.exit("search_scale: the bound changed nothing, so nothing was compared")
    return {
        "quality": {
            "hypervolume_share": shares,
            "median": {name: statistics.median(values) for name, values in shares.items()},
            "seconds": {name: statistics.median(r["seconds"] for r in found) for name, found in runs.items()},
            "bound": most,
            "trials": trials,
        }
    }


CALLS = {f.__name__: f for f in (ask_tell, tracking, observers, quality)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--told", type=int, nargs="+", default=list(TOLD))
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--only", default="", help="only schedulers and samplers with this in their name")
    parser.add_argument("--quality", action="store_true", help="bounded against unbounded history")
    parser.add_argument("--trials", type=int, default=600, help="of --quality")
    parser.add_argument("--seeds", type=int, default=5, help="of --quality")
    parser.add_argument("--bound", type=int, default=MAX_HISTORY, help="of --quality: observations that are seen")
    parser.add_argument("--call", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call:
        print(json.dumps(CALLS[options.call[0]](**json.loads(options.call[1]))))
        return
    if options.quality:
        result = compare(options.trials, options.seeds, options.bound)
    else:
        result = report(options.told, options.repeats, options.only)
    print(json.dumps(result, indent=1) if options.json else _table(result))


def _table(result: dict[str, Any]) -> str:
    return "\n".join(f"{name:>20}  {values}" for name, values in result.items())


if __name__ == "__main__":
    main()
