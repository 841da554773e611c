"""The search engine: it hands out jobs and takes their results.

One decision: a job is a trial and the rung to train it to. The engine knows neither Ray nor PyTorch, so the same one
runs on tables and simulators. The scheduler chooses which job comes next.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from nasdet.search.engine.budget import RemainingBudget
from nasdet.search.engine.jobs import Build, Finished, Job
from nasdet.search.engine.proposals import Proposals
from nasdet.search.engine.reference_point import ReferencePoint
from nasdet.search.records.store import Store
from nasdet.search.schedulers import SCHEDULERS
from nasdet.search.schedulers.base import SchedulerContext
from nasdet.trial import NOT_PROMOTED, OUT_OF_TIME, Rung, TrialRecord

S = TypeVar("S", bound=Store)


class Engine(Generic[S]):
    """Ask for jobs with `next_job`, return results with `report`, `fail` or `reject`.

    Args:
        store: the study; its existing trials are continued.
        build: flat parameters -> `Candidate`.
        cheap_build: whether `build` may be called thousands of times per decision. Then the costs of every candidate
            that is considered are computed; else a model learns them from those of earlier proposals.
        clock: seconds, monotonic.
    """

    def __init__(
        self, store: S, build: Build, *, cheap_build: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.store, self.space, self.rungs = store, store.space, store.space.rungs()
        self._budget = RemainingBudget(store, clock)
        self._proposals = Proposals(store, build)
        self._reference = ReferencePoint(store, build, cheap_build=cheap_build)
        context = SchedulerContext(store, build, cheap_build, self._budget, self._proposals, self._reference)
        self._scheduler = SCHEDULERS[self.space.scheduler.kind](context)
        self._interrupted = [r.trial for r in store.records() if r.state == "running"]

    @property
    def elapsed(self) -> float:
        """Seconds of searching since the study started; time between an interruption and its resume does not count."""
        return self._budget.elapsed

    @property
    def time_left(self) -> float:
        """Seconds until the time limit; infinite without one."""
        return self._budget.time_left

    @property
    def reference(self) -> list[float]:
        """The reference point in the order of the objectives, in their own direction."""
        return self._reference.point

    def fix_reference(self, measured: dict[str, float] | None = None) -> dict[str, Any] | None:
        """Fix the reference point once, by the rule of `ReferencePoint`.

        Args:
            measured: costs of the returned architecture that have to be measured on the target (latency_ms).

        Returns:
            None if the point is fixed or waits for results. Else the specification of the architecture with the most
            multiply-adds among 16 random ones: measure its latency and pass it to a second call.
        """
        return self._reference.fix(measured or {})

    def next_job(self) -> Job | None:
        """The next job; None if a running job has to report first.

        Raises:
            Finished: the budget is spent, or nothing is left to train.
            InputError: no candidate of the space may be trained.
        """
        if self.time_left <= 0:
            raise Finished
        job = self._interrupted_job() or self._last_full_training() or self._scheduler.next_job()
        if job is None:
            if self._budget.running:
                return None
            raise Finished
        self._budget.running.add(job.record.trial)
        if job.record.state != "running":
            self.store.put(job.record.replace(state="running"))
        return job

    def report(self, trial: str, epochs: int, values: dict[str, float], *, seconds: float, overhead: float) -> str:
        """Report the values of a trial at `epochs` cumulative epochs; returns its new state."""
        record = self.store.get(trial)
        values = {**record.values, **values}
        reached = (*record.rungs, Rung(epochs, values, told=self.store.ledger.told))
        state = "complete" if epochs >= self.rungs[-1] else "paused"
        self._proposals.rejected = 0
        self._budget.running.discard(trial)
        self.store.save_config(wall_seconds=self.elapsed)
        self.store.put(
            record.replace(
                state=state,
                values=values,
                epochs=epochs,
                rungs=reached,
                train_seconds=record.train_seconds + seconds,
                overhead_seconds=record.overhead_seconds + overhead,
            )
        )
        return state

    def keep_time(self) -> None:
        """Store how long the search has taken, so that the time of a driver that is killed counts."""
        if not self.store.config.finished:
            self.store.save_config(wall_seconds=self.elapsed)

    def note_costs(self, trial: str, costs: dict[str, float]) -> None:
        """Record costs that were measured before training, such as latency_ms."""
        record = self.store.get(trial)
        self.store.put(record.replace(values={**record.values, **costs}))

    def reject(self, trial: str, reason: str) -> None:
        """Report that a measured cost violates a constraint; nothing was trained."""
        self._proposals.rejected += 1
        self._budget.running.discard(trial)
        self.store.put(self.store.get(trial).replace(state="infeasible", reason=reason))

    def fail(self, trial: str, reason: str) -> None:
        """Report that a trial failed; it ends."""
        self._budget.running.discard(trial)
        self.store.put(self.store.get(trial).replace(state="failed", reason=reason))

    def release(self, trial: str) -> None:
        """Report that a job was interrupted: continuing its trial will be one of the next jobs."""
        self._budget.running.discard(trial)
        self._interrupted.append(trial)

    def paused(self) -> list[TrialRecord]:
        """Paused trials, the most promising first."""
        return self._scheduler.paused()

    def stop(self, trial: str, reason: str) -> None:
        """End a paused trial."""
        self.store.put(self.store.get(trial).replace(state="stopped", reason=reason))

    def close(self) -> None:
        """Stop every trial that is still paused, or was training; call it once `Finished` was raised. A study that gets
        more to spend takes them up again (`nasdet.search.records.extension`)."""
        for record in self.store.records():
            if record.state in ("paused", "running"):
                self.stop(record.trial, NOT_PROMOTED if record.state == "paused" else OUT_OF_TIME)

    def _interrupted_job(self) -> Job | None:
        """The job of a trial that was running when an earlier process ended."""
        while self._interrupted:
            record = self.store.get(self._interrupted.pop(0))
            if record.state == "running":
                violated = self._proposals.violation(record.values)
                if not violated:
                    return self._budget.job(record)
                self.reject(record.trial, violated)  # the process ended between measuring its costs and checking them
        return None

    def _last_full_training(self) -> Job | None:
        """Under a time limit and while no trial is complete: the best paused trial, at the last moment when its full
        training still fits, so that the search does not end with nothing."""
        budget = self._budget
        if not self.space.budget.time_limit or self.store.ledger.count("complete"):
            return None
        if any(budget.job(self.store.get(trial)).stop == self.rungs[-1] for trial in budget.running):
            return None
        records, fits = self.store.records(), budget.fits()
        longest = max((r.train_seconds for r in records), default=0.0)

        def is_due(record: TrialRecord) -> bool:
            """Whether it would no longer fit after one more of the longest jobs so far."""
            return budget.seconds_to_complete(record) + longest > self.time_left

        if not any(r.state == "paused" and fits(r) and is_due(r) for r in records):
            return None
        self._reference.settle()
        best = next(filter(fits, self.paused()), None)
        return budget.job(best) if best and is_due(best) else None
