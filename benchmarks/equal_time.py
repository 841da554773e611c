"""Trainings that are compared at equal wall-clock: each by `nasdet train` with one thread, pinned to a core of its own,
as many at a time as there are cores."""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nasdet.space.specs import DetectorSpec, Recipe


@dataclasses.dataclass(frozen=True)
class Entry:
    """One training: its name, and what is trained on which data."""

    name: str
    source: str
    spec: DetectorSpec
    recipe: Recipe
    seed: int = 0
    split: str = "val"
    """On which it is judged."""


def train_side_by_side(entries: Sequence[Entry], folder: Path, minutes: float) -> list[dict[str, Any]]:
    """Train and judge all, in order, one on each core.

    Returns:
        For each `name`, `source`, `seed`, `epochs`, `ap`, `ap50`.
    """
    cores: queue.SimpleQueue[int] = queue.SimpleQueue()
    for core in os.sched_getaffinity(0):
        cores.put(core)

    def on_a_core(number: int) -> dict[str, Any]:
        core = cores.get()
        try:
            return _train(entries[number], folder / str(number), minutes, core)
        finally:
            cores.put(core)

    with ThreadPoolExecutor(cores.qsize()) as pool:
        return list(pool.map(on_a_core, range(len(entries))))


def _train(entry: Entry, folder: Path, minutes: float, core: int) -> dict[str, Any]:
    def run(*arguments: object) -> dict[str, Any]:
        command = [sys.executable, "-m", "nasdet", *map(str, arguments), "--data", entry.source, "--json"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(json.dumps(entry.spec.to_json()))
    (folder / "recipe.json").write_text(json.dumps(entry.recipe.to_json()))
    trained = run(
        "train", folder / "spec.json", "--out", folder / "out", "--time-limit", f"{minutes}m", "--seed", entry.seed
    )
    judged = run("eval", folder / "out", "--split", entry.split)
    row = {
        "name": entry.name, "source": entry.source, "seed": entry.seed,
        "epochs": trained["epochs"], "ap": judged["ap"], "ap50": judged["ap50"],
    }  # fmt: skip
    print(row, file=sys.stderr, flush=True)
    return row
