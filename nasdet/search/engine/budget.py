"""What a study may still spend. One decision: the epochs of a job count as spent when it is handed out, so that workers
side by side never spend more than the budget."""

from __future__ import annotations

import functools
from collections.abc import Callable

from nasdet.search.engine.jobs import Job
from nasdet.search.records.store import Store
from nasdet.search.records.summary import NOT_TRAINED
from nasdet.trial import TrialRecord


class Budget:
    """Time, epochs and trials that are left.

    Args:
        store: the study; the seconds it took so far stand in its `config`.
        clock: seconds, monotonic.

    Attributes:
        running: trials whose jobs are under way.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._ledger, self._limits, self._clock = store.ledger, store.space.budget, clock
        self._rungs = store.space.rungs()
        self._work = functools.cache(lambda epochs: float(store.space.work(epochs)))
        self._start = clock() - float(store.config.get("wall_seconds", 0.0))
        self.running: set[str] = set()

    @property
    def elapsed(self) -> float:
        """Seconds since the study's start, pauses between resumes left out."""
        return self._clock() - self._start

    @property
    def time_left(self) -> float:
        """Seconds until the time limit; infinite without one."""
        limit = self._limits.time_limit
        return limit - self.elapsed if limit else float("inf")

    @property
    def epochs_left(self) -> float:
        """Epochs that may still be handed out; infinite without `budget.total_epochs`."""
        total = self._limits.total_epochs
        if total is None:
            return float("inf")
        return total - self._ledger.epochs - sum(self._step(self._ledger.get(trial)) for trial in self.running)

    def may_start(self) -> bool:
        """Whether one more candidate may be started."""
        if self._limits.trials is not None and self._trained() >= self._limits.trials:
            return False
        return self._rungs[0] <= self.epochs_left

    def fits(self) -> Callable[[TrialRecord], bool]:
        """What tells whether a trial's next step fits into the epochs that are left at this moment, and the rest of its
        full training into the time."""
        epochs, seconds = self.epochs_left, self.time_left
        return lambda record: self._step(record) <= epochs and self.needs(record) <= seconds

    def needs(self, record: TrialRecord) -> float:
        """Seconds that the rest of the trial's full training takes, by its own seconds per epoch."""
        if not record.epochs:
            return 0.0
        done = self._work(record.epochs)
        return record.train_seconds / done * (self._work(self._rungs[-1]) - done)

    def usual(self) -> float:
        """Seconds of a full training of usual length, by all that trained; 0 before anything did."""
        done = sum(self._work(epochs) * trials for epochs, trials in self._ledger.reached.items())
        return self._ledger.train_seconds / done * self._work(self._rungs[-1]) if done else 0.0

    def job(self, record: TrialRecord) -> Job:
        """The trial's next step."""
        return Job(record, record.epochs + self._step(record))

    def _trained(self) -> int:
        """Candidates that train or trained."""
        return len(self._ledger) - self._ledger.count(*NOT_TRAINED)

    def _step(self, record: TrialRecord) -> int:
        return next(r for r in self._rungs if r > record.epochs) - record.epochs
