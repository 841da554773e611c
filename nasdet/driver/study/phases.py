"""What a worker group is busy with, one after the other: the search, the repeats of its front, the baseline. One
decision: all stages run in one Ray Tune run, so that the group, which takes half a minute to start, is started once."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Protocol

from nasdet.driver.observers.base import Observer
from nasdet.search import Job
from nasdet.space import SearchSpace
from nasdet.trial import TrialRecord


class Records(Protocol):
    """What a stage keeps."""

    def get(self, trial: str) -> TrialRecord:
        """The record of one trial."""

    def trial_dir(self, trial: str) -> Path:
        """Folder of a trial's checkpoint and weights."""


class Jobs(Protocol):
    """What a stage asks for; see `nasdet.search.Engine`."""

    @property
    def store(self) -> Records:
        """Where it is kept."""

    @property
    def space(self) -> SearchSpace:
        """What is searched."""

    @property
    def time_left(self) -> float:
        """Seconds until the time limit; infinite without one."""

    def fix_reference(self, measured: dict[str, float] | None = None) -> dict[str, Any] | None:
        """What has to be measured before the first job, if anything."""

    def next_job(self) -> Job | None:
        """The next job, or None if a running one must report first; raises Finished."""

    def report(self, trial: str, epochs: int, values: dict[str, float], *, seconds: float, overhead: float) -> str:
        """Tell the values of a trial at `epochs`; returns its new state."""

    def note_costs(self, trial: str, costs: dict[str, float]) -> None:
        """Tell costs measured before training."""

    def reject(self, trial: str, reason: str) -> None:
        """A measured cost breaks a constraint; nothing was trained."""

    def fail(self, trial: str, reason: str) -> None:
        """A trial cannot go on."""

    def release(self, trial: str) -> None:
        """A job was interrupted; its trial can be continued later."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """Jobs until there are none, and who sees them done."""

    jobs: Jobs
    observer: Observer
    seeds: dict[str, int] = dataclasses.field(default_factory=dict)
    """Seed of the training by trial, where it is not the study's."""

    def seed(self, trial: str) -> int:
        """Seed of a trial's training."""
        return self.seeds.get(trial, self.jobs.space.budget.seed)
