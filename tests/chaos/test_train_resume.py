"""`nasdet train --workers 2` in the middle of an epoch: kill -9 of the driver with all of Ray, and of one worker. The
detector is the same to the bit as that of a training that nothing happened to."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.simulated_cluster import below, end, title, wait_for
from nasdet.errors import InputError
from nasdet.export.bundle import WEIGHTS
from nasdet.trainers.full_training import History
from tests.trainers.conftest import tiny_spec

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]  # four starts of Ray
WORKER = "ray::RayTrainWorker"


def command(folder: Path, *more: str) -> list[str]:
    (folder / "spec.json").write_text(json.dumps(tiny_spec(kind="syncbn").to_json()))
    words = ["train", str(folder / "spec.json"), "--data", "digits", "--epochs", "4", "--workers", "2", "--json"]
    return [sys.executable, "-m", "nasdet", *words, "--out", str(folder / "out"), *more]


def epochs(folder: Path) -> int:
    try:
        return len(History.read(folder / "out" / "training").epochs)
    except InputError:
        return 0


def started(folder: Path) -> subprocess.Popen[bytes]:
    """A training that is in the middle of its third epoch."""
    process = subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: epochs(folder) >= 2, 200, "two epochs are trained")
    time.sleep(0.3)
    assert epochs(folder) == 2
    return process


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of a training that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    subprocess.run(command(folder), check=True, capture_output=True)
    return (folder / "out" / WEIGHTS).read_bytes()


def test_a_killed_driver_is_resumed(undisturbed: bytes, tmp_path: Path) -> None:
    process = started(tmp_path)
    end([process.pid, *below(process.pid)])
    process.wait()
    assert epochs(tmp_path) == 2
    subprocess.run(command(tmp_path, "--resume"), check=True, capture_output=True)
    assert epochs(tmp_path) == 4
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == undisturbed


def test_a_killed_worker_is_replaced(undisturbed: bytes, tmp_path: Path) -> None:
    process = started(tmp_path)
    workers = [pid for pid in below(process.pid) if title(pid).startswith(WORKER)]
    assert len(workers) == 2
    end(workers[:1])
    assert process.wait(300) == 0
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == undisturbed
