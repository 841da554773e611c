"""Freeze-thaw as a scheduler; `nasdet.search.freeze_thaw` makes the decisions.

One decision: once no new trial may start, paused ones continue until the limit of epochs or time, or, without such a
limit, as long as they are expected to improve the front.
"""

from __future__ import annotations

from nasdet.pareto import as_costs, front, hypervolume, values_of
from nasdet.search.engine.jobs import Job
from nasdet.search.freeze_thaw.acquisition import MIN_DESIGN
from nasdet.search.freeze_thaw.decision import Decision, FreezeThaw
from nasdet.search.schedulers.base import Scheduler, SchedulerContext
from nasdet.search.schedulers.halving import rank_paused
from nasdet.trial import TrialRecord

MIN_COMPLETE = 4
"""Trials that have to be complete before the search may end for lack of expected improvement."""
MIN_GAIN = 1e-3
"""Without a limit of time or epochs, the search ends when no paused trial is expected to add this share of the
hypervolume."""


class FreezeThawScheduler(Scheduler):
    """Starts a new trial or continues a paused one, whichever promises the most per remaining epoch."""

    def __init__(self, context: SchedulerContext) -> None:
        super().__init__(context)
        self._freeze_thaw = FreezeThaw(self.space, context.build, cheap_build=context.cheap_build)

    def next_job(self) -> Job | None:
        """A new trial or a paused one, to its next rung."""
        while True:
            new = not self.proposals.exhausted() and self.budget.may_start() and self._time_for_new()
            if not new:
                self.settle_reference()
            params = self.proposals.point() if new else None
            if params is None:
                decision = self._decide(new)
                if decision.trial is not None:
                    chosen = self.store.get(decision.trial)
                    return self.budget.job(chosen) if new or self._is_worth(decision.gain) else None
                if decision.params is None:
                    return None
                params = decision.params
            record = self.proposals.register(params)
            if record is not None:
                return self.budget.job(record)

    def paused(self) -> list[TrialRecord]:
        """Paused trials, ranked as successive halving ranks them."""
        return rank_paused(self.store, self.reference.point)

    def _decide(self, new: bool) -> Decision:
        records = self.store.records()
        decision = self._freeze_thaw.decide(
            records,
            seed=self.space.budget.seed,
            number=len(records),
            reference=self.reference.point,
            reference_is_known=self.reference.is_known,
            new=new,
            allowed=self.budget.fits(),
        )
        if decision.skipped:
            self.store.save_config(skipped=self.store.config.skipped + decision.skipped)
        return decision

    def _time_for_new(self) -> bool:
        """Whether an average full training still fits into the time; before a few results there is no average."""
        return self.store.ledger.told < MIN_DESIGN or self.budget.mean_full_seconds() <= self.budget.time_left

    def _is_worth(self, gain: float) -> bool:
        """Whether a paused trial should continue when no new one may start."""
        budget, objectives = self.space.budget, self.space.objectives
        if budget.time_limit or budget.total_epochs or self.store.ledger.count("complete") < MIN_COMPLETE:
            return True
        members, directions = front(self.store.records(), objectives), [o.direction for o in objectives]
        costs = as_costs(values_of(members, objectives), directions)
        return gain > MIN_GAIN * hypervolume(costs, as_costs([self.reference.point], directions)[0])
