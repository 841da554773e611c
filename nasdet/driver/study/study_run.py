"""A study while its candidates train. One decision: whatever ends it, the terminal, MLflow and the folder are brought
up to date, and only a search that came to its end is marked finished."""

from __future__ import annotations

from nasdet.data import Dataset
from nasdet.driver.observers.base import Observers
from nasdet.driver.observers.cleanup import Housekeeping
from nasdet.driver.observers.mlflow_mirror import Outcome, Tracking
from nasdet.driver.observers.progress import Progress
from nasdet.driver.resources import Plan
from nasdet.driver.study.candidates import builder
from nasdet.driver.study.phases import Stage
from nasdet.search import Engine, StudyStore


class StudyRun:
    """Engine and observers of one study.

    Args:
        store: the study.
        dataset: what it trains on.
        plan: of its workers.
        progress: where it is shown.
    """

    def __init__(self, store: StudyStore, dataset: Dataset, plan: Plan, progress: Progress) -> None:
        self.store, self._progress = store, progress
        self._engine = Engine(store, builder(store.space, dataset.info, plan.workers))
        self._tracking, self._housekeeping = Tracking(store, warn=progress.warn), Housekeeping(store, self._engine)
        self._observers = Observers(progress, self._tracking, self._housekeeping, warn=progress.warn)
        with self._observers.guard(progress):
            progress.start(store, dataset, plan)

    @property
    def finished(self) -> bool:
        """Whether the search came to its end."""
        return bool(self.store.config.get("finished"))

    def stage(self) -> Stage:
        """Its jobs."""
        return Stage(self._engine, self._observers)

    def end(self) -> None:
        """The search has no job left."""
        self._engine.close()
        self.store.save_config(finished=True, wall_seconds=self._engine.elapsed)

    def close(self, outcome: Outcome) -> None:
        """Bring everything up to date; `outcome` is that of a search that did not come to its end."""
        if not self.finished:
            self.store.save_config(wall_seconds=self._engine.elapsed)
        with self._observers.guard(self._tracking):
            self._tracking.close("FINISHED" if self.finished else outcome)
        with self._observers.guard(self._housekeeping):
            self._housekeeping.prune()
