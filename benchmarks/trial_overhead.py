"""What lies between two trials: nasdet's warm worker group against one Ray Train run per trial.

    python benchmarks/trial_overhead.py --json          6 minutes on 2 cores

One decision: both train the same detector for one epoch of the built-in digits with two DDP workers, and both are
timed from the end of a trial to the first optimiser step of the next, without latency measurement. nasdet's figure
comes from a real search through Ray Tune; the other is what a tuner pays that calls `TorchTrainer.fit()` for every
trial.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

OVERRIDES = [
    "budget.epochs=1",
    "budget.rungs=[1]",
    "budget.time_limit=20m",
    "objectives=[{name: ap}, {name: params_m}]",
]


def nasdet_seconds(folder: Path, trials: int) -> dict[str, Any]:
    """A search of `trials` one-epoch trials: seconds before each but the first, and the group's start by phases."""
    from nasdet.driver.study.detector_search import start_search
    from nasdet.driver.study.options import SearchOptions
    from nasdet.search import StudyStore
    from nasdet.space import load_space

    space = load_space("detnet", overrides=[*OVERRIDES, f"budget.trials={trials}"])
    start_search(space, SearchOptions(study=folder / "study"))
    store = StudyStore.open(folder / "study")
    start = store.config.group_starts[0]
    return {
        "overheads": [r.overhead_seconds for r in store.records() if r.rungs][1:],
        "group_start": {
            "total": start.ready - start.created,
            "processes": start.entered - start.created,
            "imports": start.imported - start.entered,
            "process_group_and_data": start.ready - start.imported,
        },
        "specs": [(r.spec, r.recipe) for r in store.records() if r.rungs],
    }


def train_once(config: dict[str, Any]) -> None:
    """Body of a worker of the naive tuner: one epoch, with the times of its first step and its end."""
    import torch
    from ray.train import get_context

    from nasdet.data import open_data
    from nasdet.space.specs import DetectorSpec, Recipe
    from nasdet.trainers.evaluate import evaluate
    from nasdet.trainers.loop import parallel, train_epoch
    from nasdet.trainers.ranks import Ranks
    from nasdet.trainers.training_state import Training

    torch.set_num_threads(1)
    ranks = Ranks(torch.device("cpu"))
    spec, recipe = DetectorSpec.model_validate(config["spec"]), Recipe.model_validate(config["recipe"])
    data = open_data("digits")
    training = Training.start(spec, recipe, seed=0, device=ranks.device)
    first: list[float] = []
    split = data.cached("train", spec.input.height, spec.input.width)
    train_epoch(training, parallel(training, ranks), split, ranks, lambda *_: first.append(time.time()))
    evaluate(training.evaluated, data, "val", ranks)
    if get_context().get_world_rank() == 0:
        Path(config["out"]).write_text(json.dumps({"first": first[0], "end": time.time()}))


def naive_seconds(folder: Path, specs: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[float]:
    """Seconds from the end of each trial to the first step of the next, one TorchTrainer each."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from nasdet.driver.ray_cluster import ray_cluster
    from nasdet.driver.redirect_output import redirect_output

    times: list[dict[str, float]] = []
    with redirect_output(folder / "log.txt"), ray_cluster():
        for number, (spec, recipe) in enumerate(specs):
            out = folder / f"{number}.json"
            TorchTrainer(
                train_once,
                train_loop_config={"spec": spec, "recipe": recipe, "out": str(out)},
                scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.9}),
                run_config=RunConfig(name=f"naive-{number}", storage_path=str(folder / "naive")),
            ).fit()
            times.append(json.loads(out.read_text()))
    return [after["first"] - before["end"] for before, after in itertools.pairwise(times)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--trials", type=int, default=8, help="trials of the search")
    parser.add_argument("--naive-trials", type=int, default=3, help="trials with a TorchTrainer each")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nasdet-overhead-", ignore_cleanup_errors=True) as name:
        ours = nasdet_seconds(Path(name), args.trials)
        naive = naive_seconds(Path(name), ours["specs"][: args.naive_trials])
    fast, slow = statistics.median(ours["overheads"]), statistics.median(naive)
    result = {
        "naive_seconds": slow,
        "nasdet_seconds": fast,
        "ratio": slow / fast,
        "nasdet_all": ours["overheads"],
        "naive_all": naive,
        "group_start": ours["group_start"],
    }
    print(json.dumps(result) if args.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
