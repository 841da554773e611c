"""Mirrors a running study in MLflow. One decision: it only passes on what the study's storage holds, so a study whose
MLflow store was lost is written again in full on resume."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from nasdet.analysis.fronts import hypervolume_history
from nasdet.analysis.plots import draw_front
from nasdet.search import Engine, StudyStore, summarise
from nasdet.space.trial import TrialRecord
from nasdet.tracking import MlflowTracker


class Tracking:
    """Observer that feeds the `MlflowTracker`, from the first epoch on: importing MLflow before that would slow the
    start of the workers down."""

    def __init__(self, store: StudyStore, warn: Callable[[str], None]) -> None:
        self._store, self._warn = store, warn
        self._finished: list[str] = [r.trial for r in store.records() if r.state in ("complete", "stopped", "failed")]

    @functools.cached_property
    def _tracker(self) -> MlflowTracker:
        store = self._store
        tracker = MlflowTracker(
            store.config.get("tracking_uri"), store.space.name, store.name, store.dir, warn=self._warn
        )
        settings = {k: v for k, v in store.config.items() if k in ("data", "address", "storage") and v}
        budget = store.space.budget.model_dump(mode="json", exclude_none=True)
        tracker.start({**settings, "budget": budget}, store.space.to_yaml(), timeout=0.0)
        for record in store.records():
            tracker.trial(record)
        return tracker

    def started(self, record: TrialRecord, stop: int) -> None:
        """Nothing to say before its first epoch."""

    def epoch(self, record: TrialRecord, epoch: int, means: dict[str, float]) -> None:
        """Its metrics grow; with the first ones its nested run appears."""
        self._tracker.trial(self._store.get(record.trial))
        self._tracker.epoch(record.trial, epoch, means)

    def changed(self, record: TrialRecord, engine: Engine) -> None:
        """Its state, and maybe the front, change."""
        self._tracker.trial(record)
        if record.rungs:
            figures = {name: v for name, v in record.values.items() if name.startswith(("ap", "ar"))}
            self._tracker.epoch(record.trial, record.epochs, figures)
        if record.state in ("complete", "stopped", "failed"):
            self._finished.append(record.trial)
            self._front()

    def close(self, engine: Engine, outcome: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        """Bring everything up to date and wait until it is written."""
        for record in self._store.records():
            if record.state == "stopped" and record.trial not in self._finished:
                self._finished.append(record.trial)
                self._tracker.trial(record)
        self._front()
        lacking = self._tracker.close(outcome)
        if lacking:
            self._warn(lacking)

    def _front(self) -> None:
        if not self._store.config.get("reference_point"):
            return
        summary, records = summarise(self._store), self._store.records()
        done = [self._store.get(trial) for trial in self._finished]
        history = hypervolume_history(done, self._store.objectives, summary["reference_point"])

        def draw(folder: Path, summary: dict[str, Any] = summary) -> None:
            draw_front(summary, records, history, folder)

        self._tracker.front(summary, history, draw)
