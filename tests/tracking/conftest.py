"""A small study without training: records, summary and history as a search would hand them to the tracker."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from nasdet.analysis.front_history import hypervolume_history
from nasdet.analysis.plots.front_view import Axis
from nasdet.pareto import FrontStep, front
from nasdet.space.specs import DetectorSpec, Recipe
from nasdet.study_summary import Summary
from nasdet.trial import Rung, TrialRecord

AXES = (Axis("ap", "max"), Axis("latency_ms", "min"))
REFERENCE = [0.0, 20.0]


class Study(NamedTuple):
    records: list[TrialRecord]
    summary: Summary
    history: list[FrontStep]


def _record(number: int, state: str, ap: float, latency: float, epochs: int) -> TrialRecord:
    values = {"ap": ap, "ap50": ap * 1.5, "latency_ms": latency, "params_m": latency / 4, "gflops": latency / 8}
    return TrialRecord(
        trial=f"t{number:04d}",
        number=number,
        state=state,  # type: ignore[arg-type]
        params={"recipe.base_lr": 0.001 * (number + 1), "backbone.block": "basic", "long": "x" * 9000},
        spec=DetectorSpec().to_json(),
        recipe=Recipe().to_json(),
        values={} if state == "failed" else values,
        epochs=epochs,
        rungs=(Rung(1, {"ap": ap / 2, "ap50": ap}),) if epochs else (),
        reason="loss is not finite" if state == "failed" else "",
        train_seconds=5.0,
    )


ROWS = [
    ("complete", 0.50, 10.0, 3),  # front
    ("complete", 0.30, 4.0, 3),  # front
    ("complete", 0.25, 6.0, 3),  # rank 1
    ("stopped", 0.40, 3.0, 1),  # would dominate, but at a low budget
    ("failed", 0.0, 0.0, 0),
    ("infeasible", 0.0, 0.0, 0),
    ("duplicate", 0.0, 0.0, 0),
]


def _study(count: int = len(ROWS)) -> Study:
    records = [_record(i, *row) for i, row in enumerate(ROWS[:count])]
    history = hypervolume_history(records, AXES, REFERENCE)
    states = ("complete", "stopped", "failed", "paused", "running", "infeasible", "duplicate")
    counts = {s: sum(r.state == s for r in records) for s in states}
    members = [
        {"trial": r.trial, "values": r.values, "spec": r.spec, "recipe": r.recipe, "mlflow_run_id": ""}
        for r in front(records, AXES)
    ]
    summary = {
        "study": "digits-1",
        "space": "detnet",
        "data": "digits",
        "seed": 0,
        "wall_seconds": 60.0,
        "objectives": [{"name": a.name, "direction": a.direction} for a in AXES],
        "trials": {"total": sum(counts[s] for s in states[:5]), **counts},
        "reference_point": REFERENCE,
        "hypervolume": history[-1].hypervolume if history else 0.0,
        "front": members,
        "overhead_seconds_per_trial": 0.5,
        "tracking_uri": "",
    }
    return Study(records, Summary.from_json(summary), history)


@pytest.fixture
def study() -> Callable[..., Study]:
    return _study


@pytest.fixture
def made(tmp_path: Path, mlflow_tables: Path) -> Path:
    """A study folder beside a store that has its tables."""
    folder = tmp_path / "studies" / "digits-1"
    folder.mkdir(parents=True)
    shutil.copy(mlflow_tables, folder.parent)
    return folder
