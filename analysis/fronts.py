"""The front as numbers: its history and its table.

One decision: records are taken in the order in which they are given, which must be the order in which they finished;
a record carries no clock.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nasdet.space.pareto import FrontStep, ObjectiveLike, as_costs, front, hypervolume, non_dominated, values_of
from nasdet.space.trial import TrialRecord

ENDED = ("complete", "stopped", "failed")
"""States of trials that trained and will not train on."""
METRICS = ("ap", "ap50", "ap75", "latency_ms", "params_m", "gflops")
COLUMNS = ("trial", "state", "pareto", "epochs", "train_seconds", "overhead_seconds", "reason")
"""Of every table of trials, besides values and parameters."""


def hypervolume_history(
    records: Sequence[TrialRecord], objectives: Sequence[ObjectiveLike], reference: Sequence[float]
) -> list[FrontStep]:
    """The hypervolume and size of the front after each finished trial.

    Args:
        records: in the order in which they finished; trials still running or paused are passed over.
        objectives: the D objectives of the study.
        reference: `(D,)` in the objectives' own units and directions, as `reference_point` of a study's summary; empty
            before it is fixed, and then there is no history.
    """
    if not reference:
        return []
    directions = [o.direction for o in objectives]
    corner = as_costs([list(reference)], directions)[0]
    points = np.empty((0, len(objectives)))
    steps: list[FrontStep] = []
    volume, epochs, seconds = 0.0, 0, 0.0
    for record in (r for r in records if r.state in ENDED):
        epochs, seconds = epochs + record.epochs, seconds + record.train_seconds
        row = as_costs(values_of([record], objectives), directions)
        if record.state == "complete" and np.isfinite(row).all():
            grown = np.concatenate([points, row])
            grown = grown[non_dominated(grown, ["min"] * len(directions))]
            if not np.array_equal(grown, points):
                points, volume = grown, hypervolume(grown, corner)
        steps.append(FrontStep(len(steps) + 1, volume, len(points), epochs, seconds))
    return steps


def trial_rows(records: Sequence[TrialRecord], objectives: Sequence[ObjectiveLike]) -> list[dict[str, Any]]:
    """All trials, one a row with the same columns: trial, state, on the front or not, epochs, values, seconds, reason,
    every parameter. What a trial does not have is None; a parameter that bears the name of another column is
    `params.NAME`."""
    on_front = {r.trial for r in front(records, objectives)}
    names = [o.name for o in objectives] + list(METRICS) + sorted({n for r in records for n in r.values})
    values = [n for n in dict.fromkeys(names) if any(n in r.values for r in records)]
    taken = {*COLUMNS, *values, "mlflow_run_id"}
    params = {n: f"params.{n}" if n in taken else n for n in sorted({n for r in records for n in r.params})}
    return [
        {"trial": r.trial, "state": r.state, "pareto": r.trial in on_front, "epochs": r.epochs}
        | {name: r.values.get(name) for name in values}
        | {"train_seconds": round(r.train_seconds, 3), "overhead_seconds": round(r.overhead_seconds, 3)}
        | {"reason": r.reason}
        | {column: r.params.get(name) for name, column in params.items()}
        for r in records
    ]


def write_csv(path: Path, records: Sequence[TrialRecord], objectives: Sequence[ObjectiveLike]) -> None:
    """Write `trial_rows`; an empty field stands for None."""
    rows = trial_rows(records, objectives)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else COLUMNS)
        writer.writeheader()
        writer.writerows({**row, "pareto": str(row["pareto"]).lower()} for row in rows)
