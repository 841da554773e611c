"""Write a whole study into MLflow afterwards. One decision: it goes through the same tracker as a live study, so it
adds only what the store lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nasdet.errors import NasdetError
from nasdet.space.pareto import FrontStep
from nasdet.space.trial import TrialRecord
from nasdet.tracking.mlflow_tracker import Draw, MlflowTracker, Status


def replay(
    tracker: MlflowTracker,
    *,
    config: Mapping[str, Any],
    space_yaml: str,
    records: Sequence[TrialRecord],
    summary: dict[str, Any],
    history: Sequence[FrontStep],
    draw: Draw | None = None,
    status: Status = "FINISHED",
) -> str:
    """Bring MLflow up to the study and close the tracker.

    Returns:
        Run id of the parent. A store that fails raises `NasdetError`.
    """
    tracker.start(config, space_yaml)
    for record in records:
        tracker.trial(record)
    tracker.front(summary, history, draw)
    if missing := tracker.close(status, timeout=600.0):
        raise NasdetError(missing)
    return tracker.parent_run_id
