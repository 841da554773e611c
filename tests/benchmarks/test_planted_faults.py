"""The benchmark of planted faults plants them, runs the tests and puts the files back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FAULTS = {
    # name: snippet of nasdet/environment.py, what replaces it
    "stays-set": ("os.environ.pop(name, None)", "pass"),
    "harmless": ("Set environment variables", "Sets environment variables"),
    "gone": ("what nobody has written", ""),
}


def test_one_fault_is_caught_one_is_not_and_one_is_stale(repository: Path, tmp_path: Path) -> None:
    tests = ["tests/test_environment.py::test_variables_are_as_before_whatever_the_block_made_of_them"]
    faults = [
        {"id": name, "file": "nasdet/environment.py", "old": old, "new": new, "tests": tests}
        for name, (old, new) in FAULTS.items()
    ]
    (tmp_path / "list.json").write_text(json.dumps(faults))
    script = repository / "benchmarks" / "planted_faults.py"
    command = [sys.executable, str(script), "--json", "--list", str(tmp_path / "list.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr[-2000:]
    printed = json.loads(done.stdout)
    assert (printed["faults"], printed["killed"], printed["invalid"]) == (3, 1, [])
    assert (printed["survived"], printed["stale"]) == (["harmless"], ["gone"])
    assert printed["each"][0]["by"] == tests[0]


def test_every_planted_fault_has_a_test_and_a_name_of_its_own(repository: Path) -> None:
    faults = json.loads((repository / "benchmarks" / "planted_faults.json").read_text())
    assert len({fault["id"] for fault in faults}) == len(faults) > 100
    assert all(fault["tests"] and fault["old"] != fault["new"] for fault in faults)
