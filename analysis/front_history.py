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

from nasdet.pareto import FrontStep, ObjectiveLike, as_costs, front, hypervolume, values_of
from nasdet.trial import TrialRecord

ENDED = ("complete", "stopped", "failed")
"""States of trials that trained and will not train on."""
METRICS = ("ap", "ap50", "ap75", "latency_ms", "params_m", "gflops")
COLUMNS = ("trial", "state", "pareto", "epochs", "train_seconds", "overhead_seconds", "reason")
"""Of every table of trials, besides values and parameters."""


class FrontHistory:
    """The hypervolume and size of the front after each finished trial, one by one.

    Args:
        objectives: the D objectives of the study.
        reference: `(D,)` in the objectives' own units and directions, as `reference_point` of a study's summary.

    Attributes:
        steps: so far.
    """

    def __init__(self, objectives: Sequence[ObjectiveLike], reference: Sequence[float]) -> None:
        self.steps: list[FrontStep] = []
        self._objectives, self._directions = objectives, [o.direction for o in objectives]
        self._corner = as_costs([list(reference)], self._directions)[0]
        self._points = np.empty((0, len(objectives)))

    def add(self, record: TrialRecord) -> None:
        """The next one that finished; a trial that still runs or pauses is passed over."""
        if record.state not in ENDED:
            return
        number, volume, _, epochs, seconds = self.steps[-1] if self.steps else FrontStep(0, 0.0, 0, 0, 0.0)
        if record.state == "complete" and self._grow(record):
            volume = hypervolume(self._points, self._corner)
        epochs, seconds = epochs + record.epochs, seconds + record.train_seconds
        self.steps.append(FrontStep(number + 1, volume, len(self._points), epochs, seconds))

    def _grow(self, record: TrialRecord) -> bool:
        """Whether the record is on the front, which then holds it."""
        row, points = as_costs(values_of([record], self._objectives), self._directions), self._points
        worse, differs = (points <= row).all(axis=1), (points != row).any(axis=1)
        if not np.isfinite(row).all() or (worse & differs).any():
            return False
        beaten = (points >= row).all(axis=1) & differs
        self._points = np.concatenate([points[~beaten], row])
        return True


def hypervolume_history(
    records: Sequence[TrialRecord], objectives: Sequence[ObjectiveLike], reference: Sequence[float]
) -> list[FrontStep]:
    """The hypervolume and size of the front after each finished trial.

    Args:
        records: in the order in which they finished; trials still running or paused are passed over.
        objectives: the D objectives of the study.
        reference: as for `FrontHistory`; empty before it is fixed, and then there is no history.
    """
    if not reference:
        return []
    history = FrontHistory(objectives, reference)
    for record in records:
        history.add(record)
    return history.steps


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
