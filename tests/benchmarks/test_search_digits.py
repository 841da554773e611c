"""The benchmark of searches on real training: what it prints and draws, what it keeps, and one real run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FIGURES = {"hypervolume", "best_ap", "full_trainings", "trials", "first_result_seconds"}


def run(repository: Path, cwd: Path, *arguments: str) -> dict[str, object]:
    script = str(repository / "benchmarks" / "search_digits.py")
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    command = [sys.executable, script, "--json", *arguments]
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout))


def test_kept_searches_are_reported_and_drawn(repository: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    seeds = [
        [[20.0, [0.5, 5.0, 0.5]], [40.0, [0.4, 6.0, 0.6]], [61.0, [0.9, 1.0, 0.1]]],
        [[10.0, [0.5, 5.0, 0.5]], [30.0, [1.0, 5.0, 0.5]]],
        [],
    ]
    lines = [{"key": "reference", "value": [0.0, 10.0, 1.0]}]
    lines += [{"key": f"ray_optuna seed{s} 60s", "value": {"points": p, "trials": 4}} for s, p in enumerate(seeds)]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = ("--methods", "ray_optuna", "--minutes", "1", "--rows", str(rows), "--plot", str(tmp_path / "c.png"))
    result = run(repository, tmp_path, *options)
    assert (tmp_path / "c.png").stat().st_size > 1000
    assert result["reference_point"] == {"ap": 0.0, "latency_ms": 10.0, "params_m": 1.0}
    assert result["seeds"]["ray_optuna"] == {  # type: ignore[index]
        "hypervolume": [0.125, 0.25, 0.0],  # 0.5 x 5 x 0.5 of 1 x 10 x 1; what came late or is dominated adds nothing
        "best_ap": [0.5, 1.0, 0.0],
        "full_trainings": [2, 2, 0],
        "trials": [4, 4, 4],
        "first_result_seconds": [20.0, 10.0, 60.0],
    }
    assert result["summary"]["ray_optuna"]["hypervolume"] == 0.125  # type: ignore[index]
    assert result["curves"]["ray_optuna"][0] == [[0.0, 0.0], [20.0, 0.125], [60.0, 0.125]]  # type: ignore[index]


def test_every_method_is_a_space(repository: Path) -> None:
    code = (
        "from search_digits import METHODS, SPACE, load_space\n"
        "for s in METHODS.values(): print(load_space(SPACE, overrides=s).scheduler.kind)"
    )
    environment = {**os.environ, "PYTHONPATH": f"{repository}{os.pathsep}{repository / 'benchmarks'}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    kinds = ["freeze_thaw", "halving", "halving", "full", "full", "freeze_thaw"]
    assert done.stdout.split() == kinds, done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_searches_for_real(repository: Path, tmp_path: Path) -> None:
    options = ("--methods", "random", "ray_optuna", "--seeds", "1", "--minutes", "1", "--rows", str(tmp_path / "r"))
    result = run(repository, tmp_path, *options)
    assert {frozenset(figures) for figures in result["seeds"].values()} == {frozenset(FIGURES)}  # type: ignore[attr-defined]
