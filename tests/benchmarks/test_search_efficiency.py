"""The benchmark of the search engine: what it prints, that it goes on, and what it says without data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

METRICS = {"epochs_to_95", "epochs_to_95_uncut", "epochs_to_tpe_final", "log_hv_regret", "log_hv_regret_1040"}


def run(repository: Path, *arguments: str, data: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    script = str(repository / "benchmarks" / "search_efficiency.py")
    environment = {**os.environ, "NASDET_TEST_DATA": str(data), "PYTHONPATH": str(repository)}
    command = [sys.executable, script, "--json", *arguments]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True)


def test_prints_every_figure_and_goes_on(repository: Path, shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    cache = tmp_path / "cache.jsonl"
    reference = {"point": [69.7, 6.33], "hypervolume": 79.9, "best_hypervolume": 80.6}
    cache.write_text(json.dumps({"key": "3945 reference", "value": reference}) + "\n")
    options = ("--tasks", "3945", "--methods", "tpe", "random", "--seeds", "1", "--cache", str(cache))
    results: list[dict[str, Any]] = []
    for _ in range(2):
        done = run(repository, *options, data=shared_data, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout))
    assert results[0] == results[1] and done.stderr == ""
    assert results[0]["workers"] == 1 and results[0]["seeds"] == 1
    for found in (results[0]["summary"], results[0]["tasks"]["3945"], results[0]["worst_seed"]):
        assert found.keys() == METRICS and found["epochs_to_95"].keys() == {"tpe", "random"}
    assert 0 < results[0]["summary"]["epochs_to_95"]["tpe"] <= 5200
    assert 0 < results[0]["summary"]["epochs_to_95_uncut"]["random"] <= 208_000
    assert results[0]["summary"]["log_hv_regret"]["tpe"] <= results[0]["summary"]["log_hv_regret_1040"]["tpe"] < 0


def test_without_data_it_says_so(repository: Path, tmp_path: Path) -> None:
    done = run(repository, data=tmp_path, cwd=tmp_path)
    assert done.returncode == 1
    assert "no LCBench surrogate here; set NASDET_TEST_DATA" in done.stderr and "Traceback" not in done.stderr
