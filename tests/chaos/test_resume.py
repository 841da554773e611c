"""kill -9 of the driver in the middle of a search: resuming loses no finished trial and trains none twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nasdet.search import StudyStore
from tests.driver.conftest import TINY

pytestmark = [pytest.mark.ray, pytest.mark.slow]  # two drivers, each with a start of its own: two minutes


def rungs(folder: Path) -> dict[str, list[int]]:
    store = StudyStore.open(folder)
    return {r.trial: [rung.epochs for rung in r.rungs] for r in store.records() if r.rungs}


@pytest.mark.timeout(400)
def test_resume_after_kill(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    command = [sys.executable, "-m", "nasdet", "search", "detnet", "--study", str(folder), "--json"]
    for text in TINY:
        command += ["--set", text]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 150
        while time.monotonic() < deadline and not ((folder / "study.json").exists() and rungs(folder)):
            time.sleep(0.5)
        before = rungs(folder)
        assert before, "no trial finished a rung in time"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run(
        [sys.executable, "-m", "nasdet", "resume", str(folder), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    after = rungs(folder)
    assert summary["trials"]["total"] == 3 and summary["trials"]["running"] == 0
    for trial, reached in before.items():
        assert after[trial][: len(reached)] == reached
    assert all(len(reached) == len(set(reached)) for reached in after.values())
