"""The search engine: hands out jobs and is told results. One decision: a job is a trial and the rung to train it to;
the engine knows no Ray and no network, so the same one runs on tables and simulators. Which job comes next is the
scheduler's to choose."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from nasdet.search.engine.budget import Budget
from nasdet.search.engine.jobs import Build, Finished, Job
from nasdet.search.engine.proposals import Proposals
from nasdet.search.engine.reference_point import Reference
from nasdet.search.records.store import Store
from nasdet.search.schedulers.base import Parts, Scheduler
from nasdet.search.schedulers.freeze_thaw import FreezeThawScheduler
from nasdet.search.schedulers.halving_scheduler import HalvingScheduler
from nasdet.trial import Rung, TrialRecord

S = TypeVar("S", bound=Store)

SCHEDULERS: dict[str, type[Scheduler]] = {
    "halving": HalvingScheduler,
    "full": HalvingScheduler,  # of a single rung
    "freeze_thaw": FreezeThawScheduler,
}
"""`scheduler.kind` of a space -> what chooses."""


class Engine(Generic[S]):
    """Ask for jobs with `next_job`, tell results with `report`, `fail` or `reject`.

    Args:
        store: the study; what it already holds is continued.
        build: flat parameters -> `Candidate`.
        fast: whether `build` may be called thousands of times a second, so that costs are computed and not learnt.
        clock: seconds, monotonic.
    """

    def __init__(
        self, store: S, build: Build, *, fast: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.store, self.space, self.rungs = store, store.space, store.space.rungs()
        self._budget = Budget(store, clock)
        self._proposals = Proposals(store, build)
        self._reference = Reference(store, build, fast=fast)
        parts = Parts(store, build, fast, self._budget, self._proposals, self._reference)
        self._scheduler = SCHEDULERS[self.space.scheduler.kind](parts)
        self._broken = [r.trial for r in store.records() if r.state == "running"]

    @property
    def elapsed(self) -> float:
        """Seconds since the study's start, pauses between resumes left out."""
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
        """Fix the reference point once, by the rule of `Reference`.

        Args:
            measured: costs of the returned architecture that only training hardware can tell (latency_ms).

        Returns:
            None when the point is fixed, or waits for results; else the specification of the architecture with the most
            multiply-adds among the 16, whose latency has to be measured and passed to a second call.
        """
        return self._reference.fix(measured or {})

    def next_job(self) -> Job | None:
        """The next job, or None if a running one must report first.

        Raises:
            Finished: budget spent, or nothing left to train.
            InputError: the space has nothing that may be trained.
        """
        if self.time_left <= 0:
            raise Finished
        job = self._interrupted() or self._last_chance() or self._scheduler.next_job()
        if job is None:
            if self._budget.running:
                return None
            raise Finished
        self._budget.running.add(job.record.trial)
        if job.record.state != "running":
            self.store.put(job.record.replace(state="running"))
        return job

    def report(self, trial: str, epochs: int, values: dict[str, float], *, seconds: float, overhead: float) -> str:
        """Tell the values of a trial at `epochs`; returns its new state."""
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

    def note_costs(self, trial: str, costs: dict[str, float]) -> None:
        """Tell costs measured before training, such as latency_ms."""
        record = self.store.get(trial)
        self.store.put(record.replace(values={**record.values, **costs}))

    def reject(self, trial: str, reason: str) -> None:
        """A measured cost breaks a constraint; nothing was trained."""
        self._proposals.rejected += 1
        self._budget.running.discard(trial)
        self.store.put(self.store.get(trial).replace(state="infeasible", reason=reason))

    def fail(self, trial: str, reason: str) -> None:
        """A trial cannot go on."""
        self._budget.running.discard(trial)
        self.store.put(self.store.get(trial).replace(state="failed", reason=reason))

    def release(self, trial: str) -> None:
        """A job was interrupted; its trial can be continued later."""
        self._budget.running.discard(trial)

    def paused(self) -> list[TrialRecord]:
        """Paused trials, the one most worth going on with first."""
        return self._scheduler.paused()

    def stop(self, trial: str, reason: str) -> None:
        """Give a paused trial up."""
        self.store.put(self.store.get(trial).replace(state="stopped", reason=reason))

    def close(self) -> None:
        """Stop every trial that is still paused; call when `Finished` was raised."""
        for record in self.store.records():
            if record.state in ("paused", "running"):
                self.stop(record.trial, record.reason or ("not promoted" if record.rungs else "out of time"))

    def _interrupted(self) -> Job | None:
        """A trial that was running when an earlier process ended."""
        while self._broken:
            record = self.store.get(self._broken.pop(0))
            if record.state == "running":
                broken = self._proposals.violation(record.values)
                if not broken:
                    return self._budget.job(record)
                self.reject(record.trial, broken)  # its cost was measured, and the process ended before it was judged
        return None

    def _last_chance(self) -> Job | None:
        """While nothing was trained in full: the best paused trial, once any other job would leave no time for it."""
        budget = self._budget
        if not self.space.budget.time_limit or self.store.ledger.count("complete"):
            return None
        if any(budget.job(self.store.get(trial)).stop == self.rungs[-1] for trial in budget.running):
            return None
        records, fits = self.store.records(), budget.fits()
        longest = max((r.train_seconds for r in records), default=0.0)
        due = (r.state == "paused" and fits(r) and budget.needs(r) + longest > self.time_left for r in records)
        if not any(due):
            return None
        self._reference.settle()
        best = next(filter(fits, self.paused()), None)
        return budget.job(best) if best and budget.needs(best) + longest > self.time_left else None
