"""`Study`: the engine for a training loop of your own. `ask` hands out a job (a candidate and how far to train it), the
caller trains it in any way and on any number of workers, and `tell` takes the result."""

from __future__ import annotations

import contextlib
import math
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nasdet.pareto import front
from nasdet.search.engine.engine import Engine
from nasdet.search.engine.jobs import Candidate, Job
from nasdet.search.records.store import MemoryStore, Store
from nasdet.space import Params, SearchSpace
from nasdet.study_summary import Summary
from nasdet.trial import TrialRecord

Costs = Callable[[Params], Mapping[str, float]]
"""Parameters -> the objectives and constrained values that are known before training."""


class Study:
    """Ask for jobs, tell their results.

    Args:
        space: what is searched; see `parse_space`.
        costs: the values known before training; called thousands of times per decision, so it has to be fast.
        seed: of the study; None: the space's.
        reference: the reference point in the order of the objectives; None: fixed by the first results.
        store: where the study is kept, with its space and seed; None: in memory.
        clock: seconds, for a time limit.

    Raises:
        ValueError: the store's study has another seed.
        InputError: another process, or thread, works on the store's study.
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
        self._owned = contextlib.ExitStack()
        self._owned.enter_context(self.store.own())
        weakref.finalize(self, self._owned.close)  # of a study that is never closed
        if reference is not None:
            self.store.save_config(reference_point=tuple(map(float, reference)), reference_given=True)
        self.engine = Engine(self.store, candidates(costs), cheap_build=costs is not None, clock=clock)

    @property
    def space(self) -> SearchSpace:
        """What is searched."""
        return self.store.space

    def ask(self) -> Job | None:
        """The next job; None if a running job has to report first.

        Raises:
            Finished: the budget is spent.
        """
        self.engine.fix_reference()
        return self.engine.next_job()

    def tell(self, job: Job, values: Mapping[str, float], *, seconds: float = 0.0) -> TrialRecord:
        """Report the values of every objective at `job.stop`; a value that is not finite fails the trial.

        Args:
            job: as handed out by `ask`.
            values: of the objectives that `costs` does not give, and any others to be recorded; of the others, those
                that are no finite number are dropped.
            seconds: duration of the job.
        """
        reason = problem(self.space, {**job.record.values, **values})
        if reason:
            return self.fail(job, reason)
        finite = {name: number for name, value in values.items() if (number := _finite(value)) is not None}
        self.engine.report(job.record.trial, job.stop, finite, seconds=seconds, overhead=0.0)
        return self.store.get(job.record.trial)

    def fail(self, job: Job, reason: str) -> TrialRecord:
        """Report that a job failed; its trial ends."""
        self.engine.fail(job.record.trial, reason)
        return self.store.get(job.record.trial)

    def close(self) -> None:
        """End the study: trials that are still paused are stopped."""
        self.engine.close()
        self._owned.close()

    @property
    def records(self) -> list[TrialRecord]:
        """Every proposal, in order."""
        return self.store.records()

    @property
    def front(self) -> list[TrialRecord]:
        """The fully trained trials that no other one dominates (the Pareto front)."""
        return front(self.records, self.space.objectives)

    def summary(self) -> Summary:
        """Counts, reference point, hypervolume and front."""
        return Summary.of(self.records, self.space, self.store.config)


def candidates(costs: Costs | None) -> Callable[[Params], Candidate]:
    """The engine's builder for plain parameters."""
    if costs is None:
        return lambda params: Candidate(None, None, {})
    return lambda params: Candidate(None, None, {name: float(v) for name, v in costs(params).items()})


def problem(space: SearchSpace, values: Mapping[str, Any]) -> str:
    """What is wrong with reported values; empty if nothing is."""
    for objective in space.objectives:
        value = values.get(objective.name)
        if value is None:
            return f"no value of {objective.name!r} was reported, only {sorted(values)}"
        if _finite(value) is None:
            return f"{objective.name} is {value!r}"
    return ""


def _finite(value: Any) -> float | None:
    """The value as a float; None if it is no number, or not finite."""
    if isinstance(value, bool | str):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
