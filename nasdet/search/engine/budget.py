"""The budget that a study has left.

One decision: the epochs of a job count as spent when it is handed out, so that workers side by side never spend more
than the budget.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from nasdet.search.engine.jobs import Job
from nasdet.search.records.store import Store
from nasdet.trial import TrialRecord


class RemainingBudget:
    """Time, epochs and trials that are left.

    Args:
        store: the study; its `config` says how many seconds it took before this process.
        clock: seconds, monotonic.

    Attributes:
        running: trials whose jobs have been handed out and have not reported.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._ledger, self._limits, self._clock = store.ledger, store.space.budget, clock
        self._rungs = store.space.rungs()
        self._work = functools.cache(lambda epochs: float(store.space.work(epochs)))
        self._start = clock() - store.config.wall_seconds
        self.running: set[str] = set()

    @property
    def elapsed(self) -> float:
        """Seconds of searching since the study started; time between an interruption and its resume does not count."""
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
        """Whether one more trial may be started."""
        if self._limits.trials is not None and self._ledger.trained >= self._limits.trials:
            return False
        return self._rungs[0] <= self.epochs_left

    def fits(self) -> Callable[[TrialRecord], bool]:
        """A test, valid at this moment: does the trial's next rung fit into the epochs that are left, and the rest of
        its full training into the time?"""
        epochs, seconds = self.epochs_left, self.time_left
        return lambda record: self._step(record) <= epochs and self.seconds_to_complete(record) <= seconds

    def seconds_to_complete(self, record: TrialRecord) -> float:
        """Estimated seconds for the rest of the trial's full training, from its own seconds per epoch."""
        if not record.epochs:
            return 0.0
        done = self._work(record.epochs)
        return record.train_seconds / done * (self._work(self._rungs[-1]) - done)

    def mean_full_seconds(self) -> float:
        """Estimated seconds of one full training, averaged over all trials; 0 before any has trained."""
        done = sum(self._work(epochs) * trials for epochs, trials in self._ledger.reached.items())
        return self._ledger.train_seconds / done * self._work(self._rungs[-1]) if done else 0.0

    def job(self, record: TrialRecord) -> Job:
        """Training of the trial up to its next rung."""
        return Job(record, record.epochs + self._step(record))

    def _step(self, record: TrialRecord) -> int:
        """Epochs to the trial's next rung."""
        return next(r for r in self._rungs if r > record.epochs) - record.epochs
