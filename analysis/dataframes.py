"""A study as pandas DataFrames (`nasdet.load_study`). One decision: they hold the rows of the CSV file of
`nasdet pareto`, so that the two cannot differ."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd

from nasdet.analysis.front_history import COLUMNS, trial_rows
from nasdet.search import open_study
from nasdet.tracking import run_ids


@dataclasses.dataclass(frozen=True)
class StudyFrames:
    """What a study found, as it stands when it is read; a study that still runs is read again to see more."""

    trials: pd.DataFrame
    """One row for each proposal, in the order of their numbers: `trial`, `state`, `pareto` (on the front or not),
    `epochs`, every value measured at that budget, `train_seconds`, `overhead_seconds`, `reason`, every parameter under
    its flat name, `mlflow_run_id` ("" without one). What a trial does not have is NaN. A parameter that bears the name
    of one of the other columns stands under `params.NAME`."""
    front: pd.DataFrame
    """The rows of the Pareto front, best first in the first objective."""
    summary: dict[str, Any]
    """The object that `nasdet pareto --json` prints."""


def read_frames(study: str | Path | None) -> StudyFrames:
    """Read a study, as `nasdet.load_study`."""
    store = open_study(study)
    rows, runs = trial_rows(store.records(), store.objectives), run_ids(store.dir)
    rows = [{**row, "mlflow_run_id": runs.get(row["trial"], "")} for row in rows]
    trials = pd.DataFrame(rows, columns=None if rows else [*COLUMNS, "mlflow_run_id"])
    summary = store.summary()
    members = [member["trial"] for member in summary["front"]]
    front = trials.set_index("trial", drop=False).loc[members].reset_index(drop=True)
    return StudyFrames(trials, front, summary)
