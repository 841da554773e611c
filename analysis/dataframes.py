"""A study as pandas DataFrames (`nasdet.load_study`), which hold the rows of `nasdet pareto --csv`, so that the two
cannot differ; and the CSV files of all analyses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from nasdet.pareto import ObjectiveLike, front
from nasdet.search import StudyStore, summarise
from nasdet.tracking import run_ids
from nasdet.trial import TrialRecord

METRICS = ("ap", "ap50", "ap75", "latency_ms", "params_m", "gflops")
"""Values that stand first in a table of trials, after the objectives."""
COLUMNS = ("trial", "state", "pareto", "epochs", "train_seconds", "overhead_seconds", "reason")
"""Of every table of trials, besides values and parameters."""


@dataclasses.dataclass(frozen=True)
class StudyFrames:
    """What a study found, as it stands when it is read; read a study that still runs again to see more."""

    trials: pd.DataFrame
    """One row for each proposal, in the order of their numbers: `trial`, `state`, `pareto` (on the front or not),
    `epochs`, every value measured at that budget, `train_seconds`, `overhead_seconds`, `reason`, every parameter under
    its flat name, `mlflow_run_id` ("" without one). What a trial does not have is NaN. A parameter that bears the name
    of one of the other columns stands under `params.NAME`."""
    front: pd.DataFrame
    """The rows of the Pareto front, best first in the first objective."""
    summary: dict[str, Any]
    """The object that `nasdet pareto --json` prints."""


def read_frames(store: StudyStore) -> StudyFrames:
    """The tables of an opened study."""
    rows, runs = trial_rows(store.records(), store.objectives), run_ids(store.dir)
    rows = [{**row, "mlflow_run_id": runs.get(row["trial"], "")} for row in rows]
    trials = pd.DataFrame(rows, columns=None if rows else [*COLUMNS, "mlflow_run_id"])
    summary = summarise(store)
    members = [member.trial for member in summary.front]
    front = trials.set_index("trial", drop=False).loc[members].reset_index(drop=True)
    return StudyFrames(trials, front, summary.to_json())


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


def write_trials(records: Sequence[TrialRecord], objectives: Sequence[ObjectiveLike], path: Path) -> None:
    """Write `trial_rows` as CSV; an empty field stands for None, and `pareto` is true or false."""
    rows = [{**row, "pareto": str(row["pareto"]).lower()} for row in trial_rows(records, objectives)]
    write_csv(rows, path, None if rows else COLUMNS)


def write_csv(rows: Sequence[Any], path: Path, columns: Sequence[str] | None = None) -> None:
    """Write dicts, named tuples or dataclasses of one kind as CSV, and the folder of the file where there is none.

    Args:
        rows: whose keys or fields are the columns.
        path: of the file.
        columns: the heading; needed where there may be no rows.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # As objects, or pandas would write the whole numbers of a column with gaps as 1.0.
    pd.DataFrame(list(rows), columns=columns, dtype=object).to_csv(path, index=False, lineterminator="\r\n")
