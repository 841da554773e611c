"""The benchmark of searches under a time limit prints its figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REFERENCE = {"point": [69.7, 6.33], "hypervolume": 79.9, "best_hypervolume": 80.6}


def printed(script: str, *options: str, repository: Path, shared_data: Path, folder: Path) -> dict[str, Any]:
    pytest.importorskip("onnxruntime")
    rows = folder / "rows.jsonl"
    rows.write_text(json.dumps({"key": "3945 reference", "value": REFERENCE}) + "\n")
    command = [sys.executable, str(repository / "benchmarks" / script), "--json", "--tasks", "3945", "--seeds", "1"]
    command += [*options, "--rows", str(rows)]
    environment = {**os.environ, "NASDET_TEST_DATA": str(shared_data), "PYTHONPATH": str(repository)}
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_prints_every_method_under_a_time_limit(repository: Path, shared_data: Path, tmp_path: Path) -> None:
    where = {"repository": repository, "shared_data": shared_data, "folder": tmp_path}
    found = printed("search_time.py", "--full-trainings", "2", "--workers", "4", **where)["log_hv_regret"]
    assert set(found) == {"freeze_thaw", "halving_tpe", "halving_random", "tpe", "random"}
    assert all(0 >= early["25%"] >= early["50%"] >= early["100%"] for early in found.values())
    assert found["freeze_thaw"]["100%"] < 0
