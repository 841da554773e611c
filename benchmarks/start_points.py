"""Start points of a derived search space at equal wall-clock: which input size, finest stride and width learn most in
the time, beside the one that `nasdet.driver.auto_space.derive` chooses.

    python benchmarks/start_points.py --json --data FOLDER --minutes 8 256:4:32 320:8:32 448:4:16

Each point SIZE:STRIDE:WIDTH is trained in full by `nasdet train` with one thread, pinned to a core of its own, as many
at a time as there are cores, and judged on the test split, or on val where there is none. Without points it is the
derived one alone.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nasdet.data import Dataset, open_data
from nasdet.driver.auto_space.auto import auto_space, start_candidate
from nasdet.driver.auto_space.start_space import Start
from nasdet.models import count_costs


def derived(data: Dataset, minutes: float) -> str:
    """The point that is derived for a search of half the time, and a training of the time."""
    point = auto_space(data, time_limit=30 * minutes, training=60 * minutes).raw["points"][0]
    return f"{point['input.size']}:{point.get('neck.min_stride', 8)}:{point['backbone.width']}"


def prepare(point: str, data: Dataset, folder: Path, batch: int) -> float:
    """Write specification and recipe of a point; returns its 1e9 multiply-adds."""
    size, stride, width = map(int, point.split(":"))
    spec, recipe = start_candidate(data, Start(size, stride, width, batch=batch))
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(json.dumps(spec.to_json()))
    (folder / "recipe.json").write_text(json.dumps(recipe.to_json()))
    return count_costs(spec).gflops


def train(point: str, source: str, folder: Path, minutes: float, seed: int, split: str, core: int) -> dict[str, Any]:
    """Train and judge one point on one core."""

    def run(*arguments: object) -> dict[str, Any]:
        command = [sys.executable, "-m", "nasdet", *map(str, arguments), "--data", source, "--json"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    out = folder / f"seed{seed}"
    trained = run("train", folder / "spec.json", "--out", out, "--time-limit", f"{minutes}m", "--seed", seed)
    judged = run("eval", out, "--split", split)
    result = {"point": point, "seed": seed, "epochs": trained["epochs"], "ap": judged["ap"], "ap50": judged["ap50"]}
    print(result, file=sys.stderr, flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", nargs="*", metavar="SIZE:STRIDE:WIDTH")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--minutes", type=float, default=8.0, help="of each training")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    options = parser.parse_args()
    source = str(Path(options.data).resolve()) if Path(options.data).exists() else options.data
    data = open_data(source)
    points = list(dict.fromkeys([derived(data, options.minutes), *options.points]))
    split = "test" if "test" in data.info.splits else "val"
    cores: queue.SimpleQueue[int] = queue.SimpleQueue()
    for core in os.sched_getaffinity(0):
        cores.put(core)
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(cores.qsize()) as pool:
        folders = {point: Path(temporary, point.replace(":", "-")) for point in points}
        gflops = {point: prepare(point, data, folder, options.batch) for point, folder in folders.items()}

        def on_a_core(task: tuple[int, str]) -> dict[str, Any]:
            seed, point = task
            core = cores.get()
            try:
                return train(point, source, folders[point], options.minutes, seed, split, core)
            finally:
                cores.put(core)

        tasks = [(seed, point) for seed in range(options.seeds) for point in points]
        rows = [{**row, "gflops": gflops[row["point"]]} for row in pool.map(on_a_core, tasks)]
    result = {"data": source, "split": split, "minutes": options.minutes, "derived": points[0], "points": rows}
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
