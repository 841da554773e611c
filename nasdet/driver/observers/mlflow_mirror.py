"""Copies a study to MLflow while it runs. Everything but the training losses of single epochs comes from the study's
storage, so whatever MLflow lacks can be written later."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from nasdet.analysis.front_history import ENDED, FrontHistory, study_curves
from nasdet.analysis.plots.front import draw_front
from nasdet.driver.observers.base import Observer
from nasdet.driver.observers.progress import Progress
from nasdet.driver.redirect_output import redirect_output, study_output
from nasdet.driver.study.options import TERMINAL, Display
from nasdet.log import LOG
from nasdet.search import StudyStore, summarise
from nasdet.tracking import (
    Front,
    MlflowTracker,
    StudyInfo,
    attach,
    holds,
    mirror_state,
    note_mirror,
    parent_run_id,
    study_key,
)
from nasdet.trial import TRAINED, TrialRecord
from nasdet.uris import default_uri, public_uri, sqlite_path

Outcome = Literal["FINISHED", "FAILED", "KILLED"]
SECONDS_A_TRIAL = 0.1
"""A long study's last ranks may take this long to write."""


class MlflowMirror(Observer):
    """Observer that runs the `MlflowTracker`, from the first epoch on: importing MLflow earlier would slow the start of
    the workers down."""

    def __init__(self, store: StudyStore, warn: Callable[[str], None], uri: str | None = None) -> None:
        self._store, self._warn = store, warn
        self._uri = uri or store.config.tracking_uri
        self._finished: list[str] = [r.trial for r in store.records() if r.state in ENDED]
        """Trials in the order in which they ended."""

    @functools.cached_property
    def _tracker(self) -> MlflowTracker:
        store = self._store
        note_mirror(store.dir, "running")
        study = StudyInfo(store.name, store.dir, store.space.name, store.space.to_yaml(), _settings(store))
        return MlflowTracker(self._uri, study, store.records, self._measure, warn=self._warn)

    def epoch(self, record: TrialRecord, epoch: int, means: dict[str, float]) -> None:
        """Its metrics grow."""
        self._tracker.epoch(record.trial, epoch, means)

    def changed(self, record: TrialRecord, time_left: float) -> None:
        """Pass on what a later record no longer says: all values at this rung, and the order in which trials end."""
        if record.rungs:
            self._tracker.epoch(record.trial, record.epochs, record.values)
        if record.state in ENDED:
            self._finished.append(record.trial)
            self._tracker.front_changed()

    def interrupt(self, *, timeout: float) -> None:
        """`close` after Ctrl-C, in at most `timeout` seconds."""
        if "_tracker" in self.__dict__:
            self.close("KILLED", timeout=timeout)
        elif any(r.state in TRAINED for r in self._store.records()):
            note_mirror(self._store.dir, "lacking")  # importing MLflow only now would take seconds

    def close(self, outcome: Outcome, *, timeout: float | None = None) -> None:
        """Bring everything up to date and wait until it is written; what MLflow then lacks is reported and noted.

        Args:
            outcome: state of the study's run in MLflow.
            timeout: seconds to wait; None: a minute, or longer for a long study.
        """
        records, finished = self._store.records(), set(self._finished)
        if not any(r.state in TRAINED for r in records):
            return
        self._finished += [r.trial for r in records if r.state == "stopped" and r.trial not in finished]
        seconds = max(60.0, SECONDS_A_TRIAL * len(records)) if timeout is None else timeout
        lacking = "interrupted"
        try:
            lacking = self._tracker.close(outcome, timeout=seconds)
        finally:
            note_mirror(self._store.dir, "lacking" if lacking else "whole")
        if lacking:
            self._warn(f"{lacking}; nasdet resume or nasdet ui tries again")

    @functools.cached_property
    def _history(self) -> FrontHistory:
        return FrontHistory(self._store.objectives, self._store.config.reference_point or ())

    def _measure(self) -> Front | None:
        """The front as of now; on the tracker's thread, while the study goes on."""
        if not self._store.config.reference_point:
            return None
        for trial in self._finished[len(self._history.steps) :]:
            self._history.add(self._store.get(trial))
        summary, history = summarise(self._store), self._history.steps
        records, curves = self._store.records(), study_curves(self._store)
        return Front(summary, history, lambda folder: draw_front(summary, records, history, folder, curves))


def store_uri(store: StudyStore) -> str:
    """Where the study is tracked; a store that has moved with the study is found beside it."""
    uri = store.config.tracking_uri or default_uri(store.dir)
    path = sqlite_path(uri)
    return default_uri(store.dir) if path is not None and not path.exists() else uri


def write_missing(store: StudyStore, display: Display = TERMINAL) -> None:
    """Write what MLflow lacks of a study; does nothing while a search writes there itself. A store that fails costs one
    line."""
    uri = store_uri(store)
    if not _lacks(store, uri):
        return
    with study_output(store.dir / LOG, display.output, redirect=display.redirect) as stream:
        progress = Progress(stream)
        progress.phase(f"writing the study into MLflow at {public_uri(uri)}")
        outcome: Outcome = "FINISHED" if store.config.finished else "KILLED"
        MlflowMirror(store, progress.warn, uri).close(outcome, timeout=600.0)


def attach_report(store: StudyStore, page: Path) -> str:
    """Put a file into the study's run in MLflow.

    Returns:
        The run's id; "" if the study has no run, or the store does not take the file: the file itself is written.
    """
    run_id, uri = parent_run_id(store.dir), store_uri(store)
    path = sqlite_path(uri)
    if not run_id or (path is not None and not holds(path, study_key(store.dir))):
        return ""
    with redirect_output(store.dir / LOG) as terminal:
        try:
            attach(uri, run_id, page, store.dir / "logs" / "mlflow.log")
        except Exception as error:  # whatever MLflow, its driver or the network raises
            line = public_uri(str(error).split("\n", 1)[0])
            Progress(terminal).warn(f"MLflow did not take {page.name} ({type(error).__name__}: {line})")
            return ""
    return run_id


def _lacks(store: StudyStore, uri: str) -> bool:
    state, finished = mirror_state(store.dir), store.config.finished
    if state == "running" and not finished:
        return False
    path = sqlite_path(uri)
    lost = path is not None and not holds(path, study_key(store.dir))
    return lost or state == "lacking" or (finished and state != "whole")


def _settings(store: StudyStore) -> dict[str, Any]:
    """What was asked, as parameters of the study's run."""
    given = store.config.model_dump(include={"data", "address", "storage"})
    shown = {name: public_uri(value) for name, value in given.items() if value}
    return {**shown, "budget": store.space.budget.model_dump(mode="json", exclude_none=True)}
