"""The search engine: which candidate trains next, and how far. One decision: it hands out jobs (a trial and the rung to
train it to) and is told results; it knows no Ray and no network, so the same engine runs on tables and simulators."""

from __future__ import annotations

import dataclasses
import functools
import json
import random
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np

from nasdet.errors import InputError
from nasdet.search.freeze_thaw import FreezeThaw
from nasdet.search.halving import best_paused, promotable
from nasdet.search.limits import bounds, violations
from nasdet.search.memory import Store
from nasdet.search.samplers import propose
from nasdet.search.summary import NOT_TRAINED
from nasdet.space.pareto import as_costs, front, hypervolume, values_of
from nasdet.space.trial import Rung, TrialRecord

S = TypeVar("S", bound=Store)

NEW_SHARE = 0.6
"""Share of a time limit in which new candidates are started; the rest is for promotions."""
MAX_REJECTED = 100
"""Infeasible or duplicate proposals in a row after which the space is taken as exhausted, or as empty."""
LEFT_OVER_FRONT = 4
"""Without a time limit, promotions go on until so many candidates were trained in full."""
AP = ("ap", "ap50")
"""Values that are 0 at worst."""
REFERENCE_SAMPLES = 16
"""Random architectures that fix the reference point; so many times as many where building them takes no time."""
MANY = 64
REFERENCE_RESULTS = 8
"""First results of one's own function that fix the reference point."""
WORTH = 1e-3
"""Without a limit of time or epochs, freeze-thaw ends when no paused candidate is expected to add this share of the
hypervolume."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What the caller's builder made of flat parameters."""

    spec: dict[str, Any] | None
    recipe: dict[str, Any] | None
    costs: dict[str, float]
    """Objectives known before training, such as params_m and gflops."""
    infeasible: str = ""
    """Why it must not be trained; empty if it may."""


@dataclasses.dataclass(frozen=True)
class Job:
    """Train this trial from `record.epochs` to `stop` cumulative epochs."""

    record: TrialRecord
    stop: int

    @property
    def params(self) -> dict[str, Any]:
        """The candidate's flat parameters."""
        return self.record.params


class Finished(Exception):
    """Nothing is left to do."""


class Engine(Generic[S]):
    """Ask for jobs with `next_job`, tell results with `report`, `fail` or `reject`.

    Args:
        store: the study; what it already holds is continued.
        build: flat parameters -> `Candidate`.
        fast: whether `build` may be called thousands of times a second, so that costs are computed and not learnt.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        store: S,
        build: Callable[[dict[str, Any]], Candidate],
        *,
        fast: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store, self.space = store, store.space
        self._build, self._clock, self._fast = build, clock, fast
        self.rungs = self.space.rungs()
        self._start = clock() - float(store.config.get("wall_seconds", 0.0))
        self._running: set[str] = set()
        self._known = {_key(r.spec, r.recipe, r.params): r.trial for r in store.records() if r.state not in NOT_TRAINED}
        self._exhausted = False
        self._rejected = 0
        self._broken = [r.trial for r in store.records() if r.state == "running"]
        self._freeze_thaw = FreezeThaw(self.space, build, exact=fast)

    @property
    def elapsed(self) -> float:
        """Seconds since the study's start, pauses between resumes left out."""
        return self._clock() - self._start

    @property
    def time_left(self) -> float:
        """Seconds until the time limit; infinite without one."""
        limit = self.space.budget.time_limit
        return limit - self.elapsed if limit else float("inf")

    @property
    def epochs_left(self) -> float:
        """Epochs that may still be handed out; infinite without `budget.total_epochs`."""
        total = self.space.budget.total_epochs
        if total is None:
            return float("inf")
        records = self.store.records()
        under_way = [
            next(s for s in self.rungs if s > r.epochs) - r.epochs for r in records if r.trial in self._running
        ]
        return total - sum(r.epochs for r in records) - sum(under_way)

    @property
    def reference(self) -> list[float]:
        """The reference point in the order of the objectives, in their own direction."""
        return [float(v) for v in self.store.config.get("reference_point") or []]

    def fix_reference(self, measured: dict[str, float] | None = None) -> dict[str, Any] | None:
        """Fix the reference point once: 0 for ap; for a cost the bound of its constraint, else the largest value among
        16 random architectures of the space, drawn by the study's seed; for any other value of one's own function
        a little worse than the worst of the first 8 results, outliers cut off.

        Args:
            measured: costs of the returned architecture that only training hardware can tell (latency_ms).

        Returns:
            None when the point is fixed, or waits for results; else the specification of the architecture with the most
            multiply-adds among the 16, whose latency has to be measured and passed to a second call.
        """
        if self.reference:
            return None
        samples = self._reference_samples
        largest = max(samples, key=lambda c: c.costs.get("gflops", 0.0))
        point: list[float] = []
        for objective in self.space.objectives:
            _, bound = bounds(self.space, objective.name)
            values = [c.costs[objective.name] for c in samples if objective.name in c.costs]
            values += [v for n, v in (measured or {}).items() if n == objective.name]
            if objective.name in AP:
                point.append(0.0)
            elif bound < float("inf"):
                point.append(bound)
            elif values:
                point.append(min(values) if objective.direction == "max" else max(values))
            elif largest.spec is None:
                seen = [r.rungs[0].values[objective.name] for r in self.store.records() if r.rungs]
                if len(seen) < min(REFERENCE_RESULTS, self.space.budget.trials or REFERENCE_RESULTS):
                    return None
                point.append(_beyond(seen, objective.direction))
            else:
                return largest.spec
        self.store.save_config(reference_point=point)
        return None

    def next_job(self) -> Job | None:
        """The next job, or None if a running one must report first.

        Raises:
            Finished: budget spent, or nothing left to train.
        """
        if self.time_left <= 0:
            raise Finished
        job = self._interrupted() or self._last_chance()
        if job is None and self.space.scheduler.kind == "freeze_thaw":
            job = self._decided()
        elif job is None:
            job = self._promotion() or self._new() or self._left_over()
        if job is None:
            if self._running:
                return None
            raise Finished
        self._running.add(job.record.trial)
        if job.record.state != "running":
            self.store.put(job.record.replace(state="running"))
        return job

    def report(self, trial: str, epochs: int, values: dict[str, float], *, seconds: float, overhead: float) -> str:
        """Tell the values of a trial at `epochs`; returns its new state."""
        record = self.store.get(trial)
        values = {**record.values, **values}
        reached = (*record.rungs, Rung(epochs, values, told=sum(len(r.rungs) for r in self.store.records())))
        state = "complete" if epochs >= self.rungs[-1] else "paused"
        self._rejected = 0
        self._running.discard(trial)
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
        self._rejected += 1
        self._running.discard(trial)
        self.store.put(self.store.get(trial).replace(state="infeasible", reason=reason))

    def fail(self, trial: str, reason: str) -> None:
        """A trial cannot go on."""
        self._running.discard(trial)
        self.store.put(self.store.get(trial).replace(state="failed", reason=reason))

    def release(self, trial: str) -> None:
        """A job was interrupted; its trial can be continued later."""
        self._running.discard(trial)

    def paused(self) -> list[TrialRecord]:
        """Paused trials, the one most worth going on with first."""
        if not self.reference:
            return []
        return best_paused(self.store.records(), self.space.objectives, self.rungs, self.reference)

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
                return self._job(record)
        return None

    def _last_chance(self) -> Job | None:
        """While nothing was trained in full: the best paused trial, once any other job would leave no time for it."""
        records = self.store.records()
        if not self.space.budget.time_limit or self._running or any(r.state == "complete" for r in records):
            return None
        fitting = [r for r in self.paused() if self._fits(r)]
        longest = max((r.train_seconds for r in records), default=0.0)
        return self._job(fitting[0]) if fitting and self._needs(fitting[0]) + longest > self.time_left else None

    def _promotion(self) -> Job | None:
        if not self.reference:
            return None
        records, space = self.store.records(), self.space
        chosen = promotable(
            records, space.objectives, self.rungs, space.scheduler.eta, self.reference, allowed=self._fits
        )
        return self._job(chosen) if chosen is not None else None

    def _decided(self) -> Job | None:
        """What freeze-thaw chooses."""
        for _ in range(MAX_REJECTED):
            records = self.store.records()
            number, new = len(records), self._may_start(records) and self._time_for_new(records)
            if new and number < len(self.space.points):
                params = self._point(number, records)
            else:
                decision = self._freeze_thaw.decide(
                    records,
                    seed=self.space.budget.seed,
                    number=number,
                    reference=self.reference,
                    given=not self.space.function or bool(self.store.config.get("reference_given")),
                    new=new,
                    allowed=self._fits,
                )
                if decision.trial is not None:
                    return self._job(self.store.get(decision.trial)) if new or self._worth(decision.gain) else None
                if decision.params is None:
                    return None
                params = decision.params
                if decision.skipped:
                    self.store.save_config(skipped=int(self.store.config.get("skipped", 0)) + decision.skipped)
            record = self._register(params)
            if record is not None:
                return Job(record, self.rungs[0])
        self._check_any_trained()
        self._exhausted = True
        return None

    def _time_for_new(self, records: list[TrialRecord]) -> bool:
        """Whether a full training of usual length still fits into the time."""
        seconds = sum(r.train_seconds for r in records) / max(sum(r.epochs for r in records), 1)
        return seconds * self.rungs[-1] <= self.time_left

    def _worth(self, gain: float) -> bool:
        """Whether a paused trial should go on when no other may start."""
        budget, records = self.space.budget, self.store.records()
        members = front(records, self.space.objectives)
        if budget.time_limit or budget.total_epochs or len(members) < LEFT_OVER_FRONT:
            return True
        directions = [o.direction for o in self.space.objectives]
        costs = as_costs(values_of(members, self.space.objectives), directions)
        return gain > WORTH * hypervolume(costs, as_costs([self.reference], directions)[0])

    def _left_over(self) -> Job | None:
        """When no new candidate may start: the best paused one that still fits into the time."""
        complete = sum(r.state == "complete" for r in self.store.records()) + len(self._running)
        if not self.space.budget.time_limit and complete >= LEFT_OVER_FRONT:
            return None
        return next((self._job(r) for r in self.paused() if self._fits(r)), None)

    def _fits(self, record: TrialRecord) -> bool:
        """Whether the trial's next step fits into the epochs, and the rest of its full training into the time."""
        step = next(r for r in self.rungs if r > record.epochs) - record.epochs
        return step <= self.epochs_left and self._needs(record) <= self.time_left

    def _needs(self, record: TrialRecord) -> float:
        """Seconds that the rest of the trial's full training takes, by its own seconds per epoch."""
        return record.train_seconds / max(record.epochs, 1) * (self.rungs[-1] - record.epochs)

    def _job(self, record: TrialRecord) -> Job:
        return Job(record, next(r for r in self.rungs if r > record.epochs))

    def _may_start(self, records: list[TrialRecord]) -> bool:
        """Whether the budget allows one more candidate."""
        budget = self.space.budget
        trained = sum(r.state not in NOT_TRAINED for r in records)
        if budget.trials is not None and trained >= budget.trials:
            return False
        return not self._exhausted and self.rungs[0] <= self.epochs_left

    def _new(self) -> Job | None:
        budget = self.space.budget
        if not self._may_start(self.store.records()):
            return None
        if budget.time_limit and self.elapsed > NEW_SHARE * budget.time_limit and self._can_promote():
            return None
        if self._rejected >= MAX_REJECTED:
            self._exhausted = True
            self._check_any_trained()
        record = None if self._exhausted else self._propose()
        self._exhausted = record is None
        return Job(record, self.rungs[0]) if record is not None else None

    def _can_promote(self) -> bool:
        """Whether there is something to promote in the last part of the time."""
        return len(self.rungs) > 1 and any(r.rungs for r in self.store.records())

    def _propose(self) -> TrialRecord | None:
        for _ in range(MAX_REJECTED):
            records = self.store.records()
            record = self._register(self._point(len(records), records))
            if record is not None:
                return record
        self._check_any_trained()
        return None

    def _register(self, params: dict[str, Any]) -> TrialRecord | None:
        """Put the proposal into the store; None if it must not be trained."""
        number, candidate = len(self.store.records()), self._build(params)
        record = TrialRecord(
            f"t{number:04d}",
            number,
            "running",
            params,
            candidate.spec,
            candidate.recipe,
            dict(candidate.costs),
            reason=candidate.infeasible or self._violation(candidate.costs),
        )
        key = _key(record.spec, record.recipe, params)
        same = self._known.get(key)
        if record.reason:
            self.store.put(record.replace(state="infeasible"))
        elif same is not None:
            self.store.put(record.replace(state="duplicate", reason=f"the same as {same}"))
        else:
            self._known[key] = record.trial
            self.store.put(record)
            return record
        return None

    def _check_any_trained(self) -> None:
        """The space is exhausted: where nothing could be trained at all, that is the user's error."""
        records = self.store.records()
        if any(r.state not in NOT_TRAINED for r in records):
            return
        last = records[-1]
        raise InputError(
            f"{MAX_REJECTED} proposals in a row were {last.state} (the last one: {last.reason})",
            where=self.space.name,
            remedy="widen the constraints or the space; nasdet check shows what is feasible",
        )

    def _point(self, number: int, records: list[TrialRecord]) -> dict[str, Any]:
        """The next of the space's `points`, completed at random, then proposals of the sampler."""
        seed = self.space.budget.seed
        if number < len(self.space.points):
            rng = random.Random(seed * 1_000_003 + number)
            return self.space.sample(rng, given=self.space.points[number])
        return propose(self.space, records, seed=seed, number=number)

    def _violation(self, values: dict[str, float]) -> str:
        return "; ".join(f"violates {text} by {by:.3g}" for text, by in violations(self.space, values).items())

    @functools.cached_property
    def _reference_samples(self) -> list[Candidate]:
        rng = random.Random(self.space.budget.seed)
        count = REFERENCE_SAMPLES * (MANY if self._fast else 1)
        made = [self._build(self.space.sample(rng)) for _ in range(count)]
        good = [c for c in made if not c.infeasible and (c.costs or c.spec is None)]
        if not good:
            reason = made[0].infeasible
            raise InputError(
                f"none of {count} random candidates can be built: {reason}",
                where=self.space.name,
                remedy="see nasdet check",
            )
        return good


def _key(spec: dict[str, Any] | None, recipe: dict[str, Any] | None, params: dict[str, Any]) -> str:
    """Equal for candidates that would train the same: equal architecture and recipe; else equal parameters."""
    return json.dumps([spec, recipe] if spec else params, sort_keys=True)


def _beyond(values: list[float], direction: str) -> float:
    """The worst value, at most three times as far from the median as the best, and a tenth of the range on top."""
    costs = np.array(values) * (-1.0 if direction == "max" else 1.0)
    best, middle = float(costs.min()), float(np.median(costs))
    worst = min(float(costs.max()), middle + 3 * (middle - best)) if middle > best else float(costs.max())
    cost = worst + 0.1 * (worst - best)
    return -cost if direction == "max" else cost
