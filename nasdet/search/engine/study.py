"""`Study`: the engine for one's own loop. One decision: `ask` hands out a job, a candidate and how far to take it, and
`tell` takes what came of it; whoever asks trains, in whatever way and on however many workers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nasdet.pareto import front
from nasdet.search.engine.engine import Engine
from nasdet.search.engine.jobs import Candidate, Job
from nasdet.search.records.store import MemoryStore, Store
from nasdet.search.records.summary import figures
from nasdet.space import Params, SearchSpace
from nasdet.trial import TrialRecord

Costs = Callable[[Params], Mapping[str, float]]
"""Parameters -> the objectives and constrained values that are known before training."""


class Study:
    """Ask for jobs, tell their results.

    Args:
        space: what is searched; see `parse_space`.
        costs: what is known of a candidate before training; called thousands of times a decision, so it has to be fast.
        seed: of the study; None: the space's.
        reference: the reference point in the order of the objectives; None: fixed by the first results.
        store: where the study lives, its space and seed included; None: in memory.
        clock: seconds, for a time limit.

    Raises:
        ValueError: the seed is not that of the store's study.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        costs: Costs | None = None,
        seed: int | None = None,
        reference: Sequence[float] | None = None,
        store: Store | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if store is not None and seed not in (None, store.space.budget.seed):
            raise ValueError(f"seed {seed}, but the study in the store has {store.space.budget.seed}")
        self.store = MemoryStore(space.with_budget(seed=seed)) if store is None else store
        if reference is not None:
            self.store.save_config(reference_point=[float(v) for v in reference], reference_given=True)
        self.engine = Engine(self.store, candidates(costs), fast=costs is not None, clock=clock)

    @property
    def space(self) -> SearchSpace:
        """What is searched."""
        return self.store.space

    def ask(self) -> Job | None:
        """The next job; None while only running ones can tell what is next.

        Raises:
            Finished: the budget is spent.
        """
        self.engine.fix_reference()
        return self.engine.next_job()

    def tell(self, job: Job, values: Mapping[str, float], *, seconds: float = 0.0) -> TrialRecord:
        """Tell the values of every objective at `job.stop`; a value that is not finite fails the trial.

        Args:
            job: as handed out by `ask`.
            values: of the objectives that `costs` does not give, and of whatever else is worth keeping; of that, what
                is no finite number is left out.
            seconds: that the job took.
        """
        lacking = problem(self.space, {**job.record.values, **values})
        if lacking:
            return self.fail(job, lacking)
        told = {name: number for name, value in values.items() if (number := _finite(value)) is not None}
        self.engine.report(job.record.trial, job.stop, told, seconds=seconds, overhead=0.0)
        return self.store.get(job.record.trial)

    def fail(self, job: Job, reason: str) -> TrialRecord:
        """Tell that a job cannot be done."""
        self.engine.fail(job.record.trial, reason)
        return self.store.get(job.record.trial)

    def close(self) -> None:
        """End the study: what is still paused is stopped."""
        self.engine.close()

    @property
    def records(self) -> list[TrialRecord]:
        """Every proposal, in order."""
        return self.store.records()

    @property
    def front(self) -> list[TrialRecord]:
        """The candidates, trained in full, that no other one dominates."""
        return front(self.records, self.space.objectives)

    def summary(self) -> dict[str, Any]:
        """Counts, reference point, hypervolume and front, as `nasdet search --json` prints them."""
        return figures(self.records, self.space, self.store.config)


def candidates(costs: Costs | None) -> Callable[[Params], Candidate]:
    """The engine's builder for plain parameters."""
    if costs is None:
        return lambda params: Candidate(None, None, {})
    return lambda params: Candidate(None, None, {name: float(v) for name, v in costs(params).items()})


def problem(space: SearchSpace, values: Mapping[str, Any]) -> str:
    """What is wrong with told values; empty if nothing is."""
    for objective in space.objectives:
        value = values.get(objective.name)
        if value is None:
            return f"no value of {objective.name!r} was told, only {sorted(values)}"
        if _finite(value) is None:
            return f"{objective.name} is {value!r}"
    return ""


def _finite(value: Any) -> float | None:
    """The value as a number; None if it is none, or not finite."""
    if isinstance(value, bool | str):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
