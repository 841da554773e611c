"""Asynchronous successive halving (ASHA, Li et al. 2020; for several objectives Schmucker et al. 2021): a paused trial
is promoted to the next rung if it ranks among the best 1/eta of its rung; otherwise a new trial starts.

One decision: trials of a rung are ranked front by front, and inside a front by what they add to the hypervolume. So the
smallest network is not promoted for being smallest while its accuracy is next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nasdet.pareto import as_costs, hypervolume, non_dominated_rank, values_of
from nasdet.search.engine.jobs import Job
from nasdet.search.freeze_thaw.hypervolume_improvement import decompose, expected_improvement
from nasdet.search.records.store import Store
from nasdet.search.schedulers.base import Scheduler
from nasdet.space import Objective
from nasdet.trial import TrialRecord

COMPARED = 200
"""A rung's newest results that a trial is compared with: enough to know the best 1/eta of them, and the same work late
in a study as early in it."""
NEGLIGIBLE = 0.01
"""A member of a front that adds less than this share of the front's hypervolume is ranked behind all fronts."""
NEW_SHARE = 0.6
"""Share of a time limit in which new trials start; the rest is for promotions."""
LEFT_OVER_COMPLETE = 4
"""Without a time limit, trials that were not promoted continue until this many are complete."""


class HalvingScheduler(Scheduler):
    """Successive halving; with a single rung every trial is trained in full (`scheduler.kind: full`)."""

    def next_job(self) -> Job | None:
        """A promotion, else a new trial, else the best of those that were not promoted."""
        return self._promotion() or self._new_trial() or self._left_over()

    def paused(self) -> list[TrialRecord]:
        """Paused trials, the most promising first."""
        return rank_paused(self.store, self.reference.point)

    def _promotion(self) -> Job | None:
        """A promotion from the highest rung that has one."""
        if not self.reference.point:
            return None
        eta, fits = self.space.scheduler.eta, self.budget.fits()
        for epochs in reversed(self.rungs[:-1]):
            group = self.store.ledger.newest(epochs, COMPARED)
            best = paused_at(group, self.space.objectives, epochs, self.reference.point, one_in=eta)
            if chosen := next(filter(fits, best), None):
                return self.budget.job(chosen)
        return None

    def _new_trial(self) -> Job | None:
        if self.proposals.exhausted() or not self.budget.may_start() or self._only_promotions():
            return None
        record = self.proposals.next()
        return self.budget.job(record) if record is not None else None

    def _only_promotions(self) -> bool:
        """Whether this is the last part of the time limit and there are results to promote."""
        limit = self.space.budget.time_limit
        late = bool(limit) and self.budget.elapsed > NEW_SHARE * (limit or 0.0)
        return late and len(self.rungs) > 1 and self.store.ledger.told > 0

    def _left_over(self) -> Job | None:
        """When no new trial may start, what is left of the budget goes to the best paused trial that still fits."""
        self.settle_reference()
        complete = self.store.ledger.count("complete") + len(self.budget.running)
        if not self.space.budget.time_limit and complete >= LEFT_OVER_COMPLETE:
            return None
        return next(map(self.budget.job, filter(self.budget.fits(), self.paused())), None)


def rank_paused(store: Store, reference: Sequence[float]) -> list[TrialRecord]:
    """Paused trials of a study, the most promising first: the highest rung first; within a rung the `COMPARED` newest
    by rank, then older ones, the newer first. None before there is a `reference` point."""
    if not reference:
        return []
    waiting, ranked = store.ledger.paused()[::-1], dict[str, TrialRecord]()
    for epochs in reversed(store.space.rungs()[:-1]):
        newest = paused_at(store.ledger.newest(epochs, COMPARED), store.space.objectives, epochs, reference)
        older = [r for r in waiting if r.epochs == epochs]
        ranked |= {r.trial: r for r in (*newest, *older) if r.trial not in ranked}
    return list(ranked.values())


def paused_at(
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    epochs: int,
    reference: Sequence[float],
    one_in: int = 1,
) -> list[TrialRecord]:
    """The records of `rank_rung` that are paused at this rung."""
    ranked = rank_rung(records, objectives, epochs, reference, one_in)
    return [r for r in ranked if r.state == "paused" and r.epochs == epochs]


def rank_rung(
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    epochs: int,
    reference: Sequence[float],
    one_in: int = 1,
) -> list[TrialRecord]:
    """Records that were evaluated at the rung of `epochs`, the best first, by their values there.

    Args:
        records: of a study; failed ones are left out.
        objectives: of the study.
        epochs: the rung.
        reference: the reference point in the objectives' own directions.
        one_in: return only the best 1/`one_in` of them, rounded down.
    """
    evaluated = [
        (record, record.replace(values=rung.values))
        for record in records
        for rung in record.rungs
        if rung.epochs == epochs and record.state != "failed"
    ]
    if not evaluated:
        return []
    directions = [o.direction for o in objectives]
    costs = as_costs(values_of([at_rung for _, at_rung in evaluated], objectives), directions)
    count = len(evaluated) // one_in
    order = order_by_hypervolume(costs, as_costs([reference], directions)[0], count)
    return [evaluated[i][0] for i in order[:count]]


def order_by_hypervolume(
    costs: NDArray[np.float64], corner: NDArray[np.float64], first: int | None = None
) -> list[int]:
    """Order of the rows of `costs` `(N, D)`, smaller is better: front by front, then what adds next to nothing.

    Args:
        costs: smaller is better.
        corner: `(D,)` the reference point.
        first: how many of the order are wanted; more may be returned. None: all.
    """
    order: list[int] = []
    negligible: list[int] = []
    ranks = non_dominated_rank(costs, ["min"] * costs.shape[1])
    for rank in range(int(ranks.max()) + 1):
        members = [int(i) for i in np.flatnonzero(ranks == rank)]
        chosen, rest = _greedy(costs, members, corner)
        order += chosen
        negligible += rest
        if first is not None and len(order) >= first:
            return order
    return order + negligible


def _greedy(costs: NDArray[np.float64], members: list[int], corner: NDArray[np.float64]) -> tuple[list[int], list[int]]:
    """Members of one front in greedy order of the hypervolume that each adds, and those that add next to nothing."""
    total = hypervolume(costs[members], corner)
    chosen: list[int] = []
    left = list(members)
    while left:
        # A point without uncertainty has an expected improvement that is exactly its gain in hypervolume.
        gains = expected_improvement(decompose(costs[chosen], corner), costs[left], np.zeros((len(left), len(corner))))
        best = int(np.argmax(gains))
        if gains[best] <= NEGLIGIBLE * total:
            break
        chosen.append(left.pop(best))
    return chosen, left
