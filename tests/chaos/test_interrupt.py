"""Ctrl-C, as a real SIGINT to a real `nasdet search`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.interrupts import interrupt


def check(run: dict[str, object]) -> None:
    assert run["reached"], run
    assert run["code"] == 130 and "Go on with: nasdet resume" in str(run["says"]), run
    assert run["stdout_empty"] and run["opens"] and run["left"] == 0 and not run["half_files"], run


@pytest.mark.timeout(400)
def test_a_search_of_a_function_is_interrupted(tmp_path: Path) -> None:
    check(interrupt(tmp_path, 3, random.Random(0), patience=120))


@pytest.mark.ray
@pytest.mark.slow  # starts a Ray of its own; `test_ray_tune` tests without Ray that nothing is written afterwards
@pytest.mark.timeout(600)
def test_a_search_of_detectors_is_interrupted_in_a_rung(tmp_path: Path) -> None:
    check(interrupt(tmp_path, 2, random.Random(0), patience=300))
