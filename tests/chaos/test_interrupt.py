"""Ctrl-C and `kill`, as real signals to a real `nasdet search`."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from benchmarks.interrupts import interrupt


def check(run: dict[str, object], code: int = 130) -> None:
    assert run["reached"], run
    assert run["code"] == code and "Go on with: nasdet resume" in str(run["says"]), run
    assert run["stdout_empty"] and run["opens"] and run["left"] == 0 and not run["half_files"], run


@pytest.mark.timeout(400)
def test_a_search_of_a_function_is_interrupted(tmp_path: Path) -> None:
    check(interrupt(tmp_path, 3, random.Random(0), patience=120))


@pytest.mark.timeout(400)
def test_a_search_of_a_function_is_terminated(tmp_path: Path) -> None:
    check(interrupt(tmp_path, 3, random.Random(0), patience=120, sent=signal.SIGTERM), code=143)


@pytest.mark.ray
@pytest.mark.slow  # starts a Ray of its own; `test_ray_tune` tests without Ray that nothing is written afterwards
@pytest.mark.timeout(600)
def test_a_search_of_detectors_is_interrupted_in_a_rung(tmp_path: Path) -> None:
    check(interrupt(tmp_path, 2, random.Random(0), patience=300))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_of_detectors_is_terminated_in_a_rung(tmp_path: Path) -> None:
    check(interrupt(tmp_path, 2, random.Random(0), patience=300, sent=signal.SIGTERM), code=143)
