"""Asynchronous successive halving as a scheduler: promote if a rung has someone to promote, else start a candidate. One
decision: what is left of the budget when no candidate may start any more goes to the best of those passed over.
"""

from __future__ import annotations

from nasdet.search.engine.jobs import Job
from nasdet.search.schedulers.base import COMPARED, Scheduler
from nasdet.search.schedulers.halving import paused_at

NEW_SHARE = 0.6
"""Share of a time limit in which new candidates are started; the rest is for promotions."""
LEFT_OVER_FRONT = 4
"""Without a time limit, promotions go on until so many candidates were trained in full."""


class HalvingScheduler(Scheduler):
    """Halving over fronts; with a single rung every candidate is trained in full (`scheduler.kind: full`)."""

    def next_job(self) -> Job | None:
        """A promotion, else a new candidate, else the best of those not promoted."""
        return self._promotion() or self._new() or self._left_over()

    def _promotion(self) -> Job | None:
        """Of the highest rung that has one."""
        if not self.reference.point:
            return None
        eta, fits = self.space.scheduler.eta, self.budget.fits()
        for epochs in reversed(self.rungs[:-1]):
            group = self.store.ledger.newest(epochs, COMPARED)
            best = paused_at(group, self.space.objectives, epochs, self.reference.point, one_in=eta)
            if chosen := next(filter(fits, best), None):
                return self.budget.job(chosen)
        return None

    def _new(self) -> Job | None:
        if self.proposals.exhausted() or not self.budget.may_start() or self._only_promotions():
            return None
        record = self.proposals.next()
        return self.budget.job(record) if record is not None else None

    def _only_promotions(self) -> bool:
        """Whether this is the last part of the time, and there is something to promote."""
        limit = self.space.budget.time_limit
        late = bool(limit) and self.budget.elapsed > NEW_SHARE * (limit or 0.0)
        return late and len(self.rungs) > 1 and self.store.ledger.told > 0

    def _left_over(self) -> Job | None:
        """When no new candidate may start: the best paused one that still fits into the budget."""
        self.settle()
        complete = self.store.ledger.count("complete") + len(self.budget.running)
        if not self.space.budget.time_limit and complete >= LEFT_OVER_FRONT:
            return None
        return next(map(self.budget.job, filter(self.budget.fits(), self.paused())), None)
