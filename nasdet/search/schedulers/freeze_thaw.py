"""Freeze-thaw as a scheduler: `FreezeThaw` decides, this does. One decision: when no candidate may start any more, the
paused ones go on as long as the budget says, or, without a limit of epochs or time, while that is expected to pay."""

from __future__ import annotations

from nasdet.pareto import as_costs, front, hypervolume, values_of
from nasdet.search.engine.jobs import Job
from nasdet.search.freeze_thaw.acquisition import LEAST
from nasdet.search.freeze_thaw.decision import Decision, FreezeThaw
from nasdet.search.schedulers.base import Parts, Scheduler

ENOUGH = 4
"""So many candidates are trained in full before the end is thought of."""
WORTH = 1e-3
"""Without a limit of time or epochs, the search ends when no paused candidate is expected to add this share of the
hypervolume."""


class FreezeThawScheduler(Scheduler):
    """Starts or thaws what promises the most per remaining epoch."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._freeze_thaw = FreezeThaw(self.space, parts.build, exact=parts.fast)

    def next_job(self) -> Job | None:
        """A new or a paused candidate, by one rung."""
        while True:
            new = not self.proposals.exhausted() and self.budget.may_start() and self._time_for_new()
            if not new:
                self.settle()
            params = self.proposals.point() if new else None
            if params is None:
                decision = self._decide(new)
                if decision.trial is not None:
                    chosen = self.store.get(decision.trial)
                    return self.budget.job(chosen) if new or self._worth(decision.gain) else None
                if decision.params is None:
                    return None
                params = decision.params
            record = self.proposals.register(params)
            if record is not None:
                return self.budget.job(record)

    def _decide(self, new: bool) -> Decision:
        records = self.store.records()
        decision = self._freeze_thaw.decide(
            records,
            seed=self.space.budget.seed,
            number=len(records),
            reference=self.reference.point,
            given=self.reference.given,
            new=new,
            allowed=self.budget.fits(),
        )
        if decision.skipped:
            self.store.save_config(skipped=int(self.store.config.get("skipped", 0)) + decision.skipped)
        return decision

    def _time_for_new(self) -> bool:
        """Whether a full training of usual length still fits into the time; a few results have to say what is usual."""
        return self.store.ledger.told < LEAST or self.budget.usual() <= self.budget.time_left

    def _worth(self, gain: float) -> bool:
        """Whether a paused trial should go on when no other may start."""
        budget, objectives = self.space.budget, self.space.objectives
        if budget.time_limit or budget.total_epochs or self.store.ledger.count("complete") < ENOUGH:
            return True
        members, directions = front(self.store.records(), objectives), [o.direction for o in objectives]
        costs = as_costs(values_of(members, objectives), directions)
        return gain > WORTH * hypervolume(costs, as_costs([self.reference.point], directions)[0])
