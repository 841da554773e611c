"""Searches on real training at equal wall-clock: nasdet, its parts alone, and Ray Tune's own OptunaSearch.

    python benchmarks/search_digits.py --json --plot curves.png       3 hours and a half on 2 cores: 6 methods, 3 seeds
    python benchmarks/search_digits.py --methods nasdet ray_optuna --seeds 1 --minutes 5

The space is `detnet` on the built-in digits, without a limit of trials. `ray_optuna` is what a user would write without
nasdet: `OptunaSearch` (its default sampler, all objectives, the space's conditions and `points`), in every Tune trial
one `TorchTrainer` with the same number of workers, and in it the same models, training loop, evaluation and latency
measurement. It does not support constraints; a candidate that cannot be built fails.

Time counts from the first proposal, when Ray is already up; a result that comes after the limit doesn't count, nor does
one at less than the full budget. Hypervolume is a share of the box from the reference point to AP 1, no latency and no
parameters. The reference point is the same for all methods and seeds, fixed before the first of them by the rule of a
study without constraints: AP 0, the most parameters among 16 random candidates (seed 0), and the latency of the one
among them with the most multiply-adds.

A finished search is a line in a file, under a key that holds a digest of the search's source where that was used, so
that an interrupted benchmark can continue and a changed engine is measured again. All methods run on one seed before
the next seed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from search_efficiency import Cache, engine_source

from nasdet.pareto import as_costs, hypervolume
from nasdet.space import SearchSpace, load_space

SPACE = "detnet"
METHODS: dict[str, tuple[str, ...]] = {
    "nasdet": (),
    "halving": ("scheduler.kind=halving", "sampler.kind=tpe"),
    "moasha": ("scheduler.kind=halving", "sampler.kind=random"),
    "tpe": ("scheduler.kind=full", "sampler.kind=tpe"),
    "random": ("scheduler.kind=full", "sampler.kind=random"),
    "ray_optuna": (),
}
"""Method -> what it changes of the space; the first is the default (freeze-thaw), as shipped."""
ROWS = Path(__file__).with_name(".cache") / "search_digits.jsonl"
Found = dict[str, Any]
"""`points`: [seconds, values of the objectives] of each full training; `trials`: candidates that trained."""
Curve = list[tuple[float, float]]
"""(seconds, share of hypervolume) wherever it grew."""


def nasdet(method: str, seed: int, seconds: float, folder: Path) -> Found:
    """One search by `nasdet search`; when its candidates were done is in its Optuna storage."""
    import optuna

    options = [part for setting in METHODS[method] for part in ("--set", setting)]
    command = [sys.executable, "-m", "nasdet", "search", SPACE, "--study", str(folder), "--json", *options]
    command += ["--seed", str(seed), "--time-limit", f"{seconds:g}s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"search_digits: {method} failed: {done.stderr[-1000:]}")
    trials = optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder}/optuna.db").trials
    start = min(t.datetime_start for t in trials if t.datetime_start)
    complete = [t for t in trials if t.state.name == "COMPLETE" and t.datetime_complete]
    points = [[(t.datetime_complete - start).total_seconds(), t.values] for t in complete if t.datetime_complete]
    return {"points": points, "trials": json.loads(done.stdout)["trials"]["total"]}


def ray_optuna(seed: int, seconds: float, folder: Path) -> Found:
    """One search by Ray Tune's OptunaSearch with a TorchTrainer for each candidate."""
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    from nasdet.driver.planner import make_plan
    from nasdet.driver.ray_cluster import ray_cluster
    from nasdet.driver.redirect_output import redirect_output

    space = load_space(SPACE)
    names, modes = [o.name for o in space.objectives], [str(o.direction) for o in space.objectives]
    with redirect_output(folder / "log.txt"), ray_cluster() as nodes:
        search = OptunaSearch(define, metric=names, mode=modes, points_to_evaluate=list(space.points), seed=seed)
        trainable = tune.with_parameters(train_candidate, plan=make_plan(space, nodes), seed=seed)
        start = time.time()
        results = tune.Tuner(
            tune.with_resources(trainable, {"CPU": 0.01}),
            tune_config=tune.TuneConfig(
                search_alg=search, num_samples=-1, max_concurrent_trials=1, time_budget_s=seconds
            ),
            run_config=tune.RunConfig(name="tune", storage_path=str(folder), verbose=0),
        ).fit()
    done = [r.metrics for r in results if r.metrics and "ended" in r.metrics]
    return {"points": [[m["ended"] - start, [m[n] for n in names]] for m in done], "trials": len(results)}


def define(trial: Any) -> None:
    """The space as a define-by-run function."""
    from nasdet.search.samplers.distributions import suggest

    space, params = load_space(SPACE), dict[str, Any]()
    for name, domain in space.parameters.items():
        if space.is_active(name, params):
            params[name] = suggest(trial, name, domain)


def train_candidate(config: dict[str, Any], *, plan: Any, seed: int) -> None:
    """Body of a Tune trial: build the candidate, train it by a TorchTrainer, which reports its values to Tune."""
    import tempfile

    from ray import tune
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    from nasdet.data import default_cache_root
    from nasdet.driver.resources import group_config
    from nasdet.driver.study.candidates import builder
    from nasdet.driver.study.detector_search import open_study_data
    from nasdet.space import load_space
    from nasdet.trainers.messages import TrainJob

    space = load_space(SPACE)
    data = open_study_data("digits", space)
    candidate = builder(space, data.info, plan.workers)(config)
    if candidate.spec is None or candidate.recipe is None:
        raise RuntimeError(candidate.infeasible)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        group = group_config(space, plan, source=data.info.source, cache_root=default_cache_root())
        job = TrainJob(
            trial=tune.get_context().get_trial_id(), spec=candidate.spec, recipe=candidate.recipe, seed=seed,
            stop=space.budget.epochs, folder=folder, measure_latency=True,
        )  # fmt: skip
        TorchTrainer(
            train_worker,
            train_loop_config={"group": group, "job": job, "costs": candidate.costs},
            scaling_config=ScalingConfig(
                num_workers=plan.workers, use_gpu=plan.device == "cuda", resources_per_worker=plan.worker_resources
            ),
            run_config=RunConfig(name="train", storage_path=folder, callbacks=[TuneReportCallback()]),
        ).fit()


def train_worker(config: dict[str, Any]) -> None:
    """Body of a TorchTrainer's worker: nasdet's own loop, evaluation and latency measurement, on a cold process."""
    from ray import train
    from ray.train.torch import get_device

    from nasdet.trainers.driver_link import Link
    from nasdet.trainers.messages import Reply
    from nasdet.trainers.worker import Runner

    replies: list[Reply] = []
    runner = Runner(config["group"], get_device(), Link(replies.append))
    runner.run(config["job"])
    failed = [r.reason for r in replies if r.kind in ("failed", "infeasible", "memory")]
    if failed:
        raise RuntimeError(failed[0])
    measured = {k: v for r in replies if r.kind in ("latency", "rung") for k, v in r.values.items()}
    train.report({**config["costs"], **measured, "ended": time.time()})


def reference_point(space: SearchSpace) -> list[float]:
    """By the rule of a study; the latency is measured as in the searches."""
    import torch

    from nasdet.data import default_cache_root
    from nasdet.driver.planner import make_plan
    from nasdet.driver.resources import group_config, this_machine
    from nasdet.driver.study.candidates import builder
    from nasdet.driver.study.detector_search import open_study_data
    from nasdet.search import Engine, MemoryStore
    from nasdet.space.specs import DetectorSpec
    from nasdet.trainers.latency import LatencyBackend, cached_latency

    plan = make_plan(space, [this_machine()])
    group = group_config(space, plan, source="digits", cache_root=default_cache_root())
    engine = Engine(MemoryStore(space), builder(space, open_study_data("digits", space).info, plan.workers))
    if largest := engine.fix_reference():
        torch.set_num_threads(group.latency_threads)
        latency = cached_latency(
            DetectorSpec.model_validate(largest), Path(group.cache_root) / "latency",
            device=torch.device(group.latency_device), threads=group.latency_threads, batch=group.latency_batch,
            backend=LatencyBackend(),
        )  # fmt: skip
        engine.fix_reference({"latency_ms": latency})
    return engine.reference


def key_of(method: str, seed: int, seconds: float) -> str:
    """Of a search's line in the file."""
    engine = "" if method == "ray_optuna" else f" {engine_source()}"
    return f"{method} seed{seed} {seconds:g}s{engine}"


def run_all(rows: Cache, methods: list[str], seeds: int, seconds: float, studies: Path) -> None:
    """Fill the file with the searches that it lacks."""
    if "reference" not in rows.values:
        rows.put("reference", reference_point(load_space(SPACE, overrides=["constraints=[]"])))
    for seed in range(seeds):
        for method in methods:
            if (key := key_of(method, seed, seconds)) in rows.values:
                continue
            print(f"{method}, seed {seed}: {seconds:g} s", file=sys.stderr, flush=True)
            folder = studies / f"{method}-{seed}-{time.time():.0f}"
            own = method == "ray_optuna"
            rows.put(key, ray_optuna(seed, seconds, folder) if own else nasdet(method, seed, seconds, folder))


def curve_of(found: Found, space: SearchSpace, corner: list[float], seconds: float) -> Curve:
    """The growth of the hypervolume over time, from (0, 0) to the limit."""
    directions = [o.direction for o in space.objectives]
    low = as_costs([corner], directions)[0]
    ideal = [1.0 if d == "max" else 0.0 for d in directions]
    box = hypervolume(as_costs([ideal], directions), low)
    curve: Curve = [(0.0, 0.0)]
    points = sorted((at, values) for at, values in found["points"] if at <= seconds)
    for i, (at, _) in enumerate(points, 1):
        share = hypervolume(as_costs([v for _, v in points[:i]], directions), low) / box
        if share > curve[-1][1]:
            curve.append((at, share))
    return [*curve, (seconds, curve[-1][1])]


def report(rows: Cache, methods: list[str], seeds: int, seconds: float) -> dict[str, Any]:
    """The result as printed: medians over seeds, every seed, and all curves."""
    space, corner = load_space(SPACE), rows.values["reference"]
    result: dict[str, Any] = {"summary": {}, "seeds": {}, "curves": {}}
    for method in methods:
        found = [rows.values[key_of(method, s, seconds)] for s in range(seeds)]
        curves = [curve_of(f, space, corner, seconds) for f in found]
        timely = [[values for at, values in f["points"] if at <= seconds] for f in found]
        figures = {
            "hypervolume": [c[-1][1] for c in curves],
            "best_ap": [max((v[0] for v in values), default=0.0) for values in timely],
            "full_trainings": [len(values) for values in timely],
            "trials": [f["trials"] for f in found],
            "first_result_seconds": [c[1][0] for c in curves],
        }
        result["summary"][method] = {name: statistics.median(values) for name, values in figures.items()}
        result["seeds"][method], result["curves"][method] = figures, curves
    names = [o.name for o in space.objectives]
    return {**result, "reference_point": dict(zip(names, corner, strict=True)), "seconds": seconds}


def draw(result: dict[str, Any], path: Path) -> None:
    """Median curves over time, every seed faint."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    grid = np.linspace(0, result["seconds"], 400)
    for number, (method, curves) in enumerate(result["curves"].items()):
        steps = [np.array([max(share for at, share in c if at <= t) for t in grid]) for c in curves]
        for step in steps:
            axes.plot(grid / 60, step, color=f"C{number}", alpha=0.25, linewidth=0.8)
        axes.plot(grid / 60, np.median(steps, axis=0), color=f"C{number}", linewidth=2, label=method)
    axes.set_xlabel("minutes since the first proposal")
    axes.set_ylabel("share of hypervolume")
    axes.set_title(f"{SPACE} on digits: medians of {len(curves)} seeds", loc="left")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=10.0, help="of one search")
    parser.add_argument("--rows", type=Path, default=ROWS, help="file of finished searches")
    parser.add_argument("--studies", type=Path, help="keep the study folders here")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw hypervolume over time")
    options = parser.parse_args()
    rows, seconds = Cache(options.rows), 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="nasdet-digits-", ignore_cleanup_errors=True) as folder:
        studies = (options.studies or Path(folder)).absolute()
        run_all(rows, options.methods, options.seeds, seconds, studies)
    result = report(rows, options.methods, options.seeds, seconds)
    if options.plot:
        draw(result, options.plot)
    print(json.dumps(result) if options.json else _table(result))


def _table(result: dict[str, Any]) -> str:
    names = list(next(iter(result["summary"].values())))
    lines = [f"{'':>12}" + "".join(f"{n:>22}" for n in names)]
    lines += [f"{m:>12}" + "".join(f"{v:>22.4g}" for v in row.values()) for m, row in result["summary"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
