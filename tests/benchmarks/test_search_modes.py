"""The benchmark of staged searches prints its figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_prints_every_mode(repository: Path, shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    rows = tmp_path / "rows.jsonl"
    reference = {"point": [69.7, 6.33], "hypervolume": 79.9, "best_hypervolume": 80.6}
    rows.write_text(json.dumps({"key": "3945 reference", "value": reference}) + "\n")
    command = [sys.executable, str(repository / "benchmarks" / "search_modes.py"), "--json", "--tasks", "3945"]
    command += ["--seeds", "1", "--epochs", "208", "--rows", str(rows)]
    environment = {**os.environ, "NASDET_TEST_DATA": str(shared_data), "PYTHONPATH": str(repository)}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["log_hv_regret"].keys() == {"joint", "structure_first", "recipe_first"} == found["best_on"].keys()
