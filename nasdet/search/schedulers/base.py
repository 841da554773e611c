"""What decides between a new candidate and a paused one. One decision: a scheduler only chooses; who runs, what is left
of the budget and how a proposal becomes a trial are the same for all of them and not its business.

A further one is a subclass in a file of its own and one entry in `engine.SCHEDULERS`.
"""

from __future__ import annotations

import abc
import dataclasses

from nasdet.search.engine.budget import Budget
from nasdet.search.engine.jobs import Build, Job
from nasdet.search.engine.proposals import Proposals
from nasdet.search.engine.reference_point import Reference
from nasdet.search.records.store import Store
from nasdet.search.schedulers.halving import paused_at
from nasdet.trial import TrialRecord

COMPARED = 200
"""At a rung candidates are compared with so many that were told last: enough to know the best share of them, and the
same work late in a study as early."""


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a scheduler chooses with.

    Attributes:
        store: the study.
        build: flat parameters -> `Candidate`.
        fast: whether `build` may be called thousands of times a second.
    """

    store: Store
    build: Build
    fast: bool
    budget: Budget
    proposals: Proposals
    reference: Reference


class Scheduler(abc.ABC):
    """Chooses the next job of a study.

    Args:
        parts: of the study.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.store, self.space, self.rungs = parts.store, parts.store.space, parts.store.space.rungs()
        self.budget, self.proposals, self.reference = parts.budget, parts.proposals, parts.reference

    @abc.abstractmethod
    def next_job(self) -> Job | None:
        """The next job, its trial registered; None if nothing is worth doing or a running job has to tell first.

        Raises:
            InputError: the space has nothing that may be trained.
        """

    def paused(self) -> list[TrialRecord]:
        """Paused trials, the one most worth going on with first: by rung, and of a rung the `COMPARED` by rank, then
        older ones."""
        if not self.reference.point:
            return []
        records, found = self.store.records(), dict[str, TrialRecord]()
        for epochs in reversed(self.rungs[:-1]):
            group = self.store.ledger.newest(epochs, COMPARED)
            ranked = paused_at(group, self.space.objectives, epochs, self.reference.point)
            older = [r for r in reversed(records) if r.state == "paused" and r.epochs == epochs]
            found |= {r.trial: r for r in (*ranked, *older) if r.trial not in found}
        return list(found.values())

    def settle(self) -> None:
        """No candidate may start any more: where the reference point waits for results, those have to do that come from
        the running ones."""
        if not self.budget.running:
            self.reference.settle()
