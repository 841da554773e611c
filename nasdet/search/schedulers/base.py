"""What every scheduler has in common.

One decision: a scheduler only chooses between a new trial and a paused one. Which jobs run, what is left of the budget
and how a proposal becomes a trial are the same for all of them and are the engine's business.
"""

from __future__ import annotations

import abc
import dataclasses

from nasdet.search.engine.budget import RemainingBudget
from nasdet.search.engine.jobs import Build, Job
from nasdet.search.engine.proposals import Proposals
from nasdet.search.engine.reference_point import ReferencePoint
from nasdet.search.records.store import Store
from nasdet.trial import TrialRecord


@dataclasses.dataclass(frozen=True)
class SchedulerContext:
    """The parts of a study that a scheduler chooses by.

    Attributes:
        store: the study's records and configuration.
        build: flat parameters -> `Candidate`.
        cheap_build: whether `build` may be called thousands of times per decision.
        budget: what is left of it.
        proposals: registers new trials.
        reference: the study's reference point.
    """

    store: Store
    build: Build
    cheap_build: bool
    budget: RemainingBudget
    proposals: Proposals
    reference: ReferencePoint


class Scheduler(abc.ABC):
    """Chooses the next job of a study.

    Args:
        context: the parts of the study.
    """

    def __init__(self, context: SchedulerContext) -> None:
        self.store, self.space, self.rungs = context.store, context.store.space, context.store.space.rungs()
        self.budget, self.proposals, self.reference = context.budget, context.proposals, context.reference

    @abc.abstractmethod
    def next_job(self) -> Job | None:
        """The next job, with its trial registered; None if nothing is worth doing or a running job has to report first.

        Raises:
            InputError: no candidate of the space may be trained.
        """

    @abc.abstractmethod
    def paused(self) -> list[TrialRecord]:
        """Paused trials, the most promising first."""

    def settle_reference(self) -> None:
        """Call it when no new trial will start: fixes the reference point from the results so far once nothing runs."""
        if not self.budget.running:
            self.reference.settle()
