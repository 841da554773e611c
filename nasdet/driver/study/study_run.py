"""A study while its candidates train: its jobs, and who observes them. One decision: whatever ends a study, the
terminal, MLflow and the folder are brought up to date, and only a search that came to its end is marked finished."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Protocol

from nasdet.data import Dataset
from nasdet.driver.observers.base import Observer, Observers
from nasdet.driver.observers.cleanup import Housekeeping
from nasdet.driver.observers.mlflow_mirror import MlflowMirror, Outcome
from nasdet.driver.observers.progress import Progress
from nasdet.driver.resources import Plan
from nasdet.driver.study.candidates import builder
from nasdet.search import Engine, Job, StudyStore
from nasdet.space import SearchSpace
from nasdet.trial import TrialRecord

SECONDS_AFTER_CTRL_C = 1.0
"""How long MLflow may still be written to after an interruption; `nasdet resume` writes what is missing then."""


class Records(Protocol):
    """The part of a store that a phase needs."""

    def get(self, trial: str) -> TrialRecord:
        """The record of one trial."""

    def trial_dir(self, trial: str) -> Path:
        """Folder of a trial's checkpoint and weights."""


class Jobs(Protocol):
    """Where the jobs of a phase come from and where their results go; see `nasdet.search.Engine`."""

    @property
    def store(self) -> Records:
        """Where the trials are kept."""

    @property
    def space(self) -> SearchSpace:
        """The search space."""

    @property
    def time_left(self) -> float:
        """Seconds until the time limit; infinite without one."""

    def fix_reference(self, measured: dict[str, float] | None = None) -> dict[str, Any] | None:
        """The architecture that has to be measured before the first job, if any."""

    def next_job(self) -> Job | None:
        """The next job, or None if a running one must report first; raises Finished."""

    def report(self, trial: str, epochs: int, values: dict[str, float], *, seconds: float, overhead: float) -> str:
        """Take the values of a trial at `epochs`; returns its new state."""

    def note_costs(self, trial: str, costs: dict[str, float]) -> None:
        """Take costs measured before training."""

    def reject(self, trial: str, reason: str) -> None:
        """A measured cost breaks a constraint; nothing was trained."""

    def fail(self, trial: str, reason: str) -> None:
        """A trial cannot go on."""

    def release(self, trial: str) -> None:
        """A job was interrupted; its trial can be continued later."""


@dataclasses.dataclass(frozen=True)
class Phase:
    """Jobs of one kind: those of the search, of the repeats of its front, or of the baseline. All phases of a study run
    in one Ray Tune run, so that its worker group, which takes half a minute to start, is started once."""

    jobs: Jobs
    observer: Observer
    seeds: dict[str, int] = dataclasses.field(default_factory=dict)
    """Seed of the training by trial, where it is not the study's."""

    def seed(self, trial: str) -> int:
        """Seed of a trial's training."""
        return self.seeds.get(trial, self.jobs.space.budget.seed)


class StudyRun:
    """Engine and observers of one study.

    Args:
        store: the study.
        dataset: what it trains on.
        plan: of its workers.
        progress: where it is shown.
        observers: further ones, called last.
    """

    def __init__(
        self,
        store: StudyStore,
        dataset: Dataset,
        plan: Plan,
        progress: Progress,
        observers: tuple[Observer, ...] = (),
    ) -> None:
        self.store, self._progress = store, progress
        self._engine = Engine(store, builder(store.space, dataset.info, plan.workers))
        self._tracking, self._housekeeping = MlflowMirror(store, warn=progress.warn), Housekeeping(store, self._engine)
        everyone = (progress, self._tracking, self._housekeeping, *observers)
        self._observers = Observers(*everyone, warn=progress.warn)
        with self._observers.guard(progress):
            progress.start(store, dataset, plan)

    @property
    def finished(self) -> bool:
        """Whether the search came to its end."""
        return self.store.config.finished

    def phase(self) -> Phase:
        """The study's own jobs."""
        return Phase(self._engine, self._observers)

    def end(self) -> None:
        """The search has no job left."""
        self._engine.close()
        self.store.save_config(finished=True, wall_seconds=self._engine.elapsed)

    def close(self, outcome: Outcome) -> None:
        """Bring everything up to date.

        Args:
            outcome: of a search that did not come to its end; after KILLED this takes at most a few seconds.
        """
        if not self.finished:
            self.store.save_config(wall_seconds=self._engine.elapsed)
        with self._observers.guard(self._tracking):
            if outcome == "KILLED" and not self.finished:
                self._tracking.interrupt(timeout=SECONDS_AFTER_CTRL_C)
            else:
                self._tracking.close("FINISHED" if self.finished else outcome)
        with self._observers.guard(self._housekeeping):
            self._housekeeping.prune()
