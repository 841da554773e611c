"""Proposals: how parameters become a trial.

One decision: every proposal gets a record, also one that must not be trained. So the sampler learns what is infeasible,
and a resumed study continues with the same proposal number.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from typing import Any

from nasdet.errors import InputError
from nasdet.search.engine.constraints import violations
from nasdet.search.engine.jobs import Build
from nasdet.search.records.store import Store
from nasdet.search.samplers import propose
from nasdet.trial import NOT_TRAINED, TrialRecord

MAX_REJECTED = 100
"""Infeasible or duplicate proposals in a row after which the space counts as exhausted, or as empty."""
MEASURED = "latency_ms"
"""The cost of a detector that is measured after its proposal was accepted."""


class Proposals:
    """Proposes new trials of a study.

    Args:
        store: the study.
        build: flat parameters -> `Candidate`.

    Attributes:
        rejected: trials in a row whose measured costs turned out to violate a constraint before they trained.
    """

    def __init__(self, store: Store, build: Build) -> None:
        self._store, self._space, self._build = store, store.space, build
        started = [r for r in store.records() if not self._was_rejected_unmeasured(r)]
        self._known = {_key(r.spec, r.recipe, r.params): r.trial for r in reversed(started)}
        self._exhausted = False
        rejected = itertools.takewhile(self._was_rejected_unmeasured, reversed(store.records()))
        self._unmeasured_rejections = sum(1 for _ in rejected)
        self.rejected = 0

    def next(self) -> TrialRecord | None:
        """A new trial, from the space's `points` first and then from its sampler; None if there is nothing new to
        train.

        Raises:
            InputError: see `exhausted`.
        """
        while not self.exhausted():
            record = self.register(self.point() or self._sampled())
            if record is not None:
                return record
        return None

    def exhausted(self) -> bool:
        """Whether the space has nothing new that may be trained; once exhausted, it stays so.

        Raises:
            InputError: no proposal at all could be trained, so the space or its constraints are wrong.
        """
        if not self._exhausted and max(self._unmeasured_rejections, self.rejected) >= MAX_REJECTED:
            self._exhausted = True
            self._check_that_some_trained()
        return self._exhausted

    def point(self) -> dict[str, Any] | None:
        """The next of the space's `points`, with random values for what it leaves out; None once all were proposed."""
        number, points = len(self._store.ledger), self._space.points
        if number >= len(points):
            return None
        rng = random.Random(self._space.budget.seed * 1_000_003 + number)
        return self._space.sample(rng, given=points[number])

    def register(self, params: dict[str, Any]) -> TrialRecord | None:
        """Add the proposal to the store; None if it must not be trained."""
        number, candidate = len(self._store.ledger), self._build(params)
        record = TrialRecord(
            f"t{number:04d}",
            number,
            "running",
            params,
            candidate.spec,
            candidate.recipe,
            dict(candidate.costs),
            reason=candidate.infeasible or self.violation(candidate.costs),
        )
        key = _key(record.spec, record.recipe, params)
        same = self._known.get(key)
        if record.reason:
            self._store.put(record.replace(state="infeasible"))
        elif same is not None:
            self._store.put(record.replace(state="duplicate", reason=f"the same as {same}"))
        else:
            self._known[key] = record.trial
            self._store.put(record)
            self._unmeasured_rejections = 0
            return record
        self._unmeasured_rejections += 1
        return None

    def _check_that_some_trained(self) -> None:
        ledger = self._store.ledger
        if ledger.count(*NOT_TRAINED) < len(ledger):
            return
        last = self._store.records()[-1]
        raise InputError(
            f"{MAX_REJECTED} proposals in a row were {last.state} (the last one: {last.reason})",
            where=self._space.name,
            remedy="widen the constraints or the space; nasdet check shows what is feasible",
        )

    def _sampled(self) -> dict[str, Any]:
        records = self._store.records()
        return propose(self._space, records, seed=self._space.budget.seed, number=len(records))

    def _was_rejected_unmeasured(self, record: TrialRecord) -> bool:
        """Whether the proposal was infeasible or a duplicate before any of its costs was measured."""
        return record.state in NOT_TRAINED and (self._space.function or MEASURED not in record.values)

    def violation(self, values: dict[str, float]) -> str:
        """The constraints that the values violate, as text; empty if none."""
        return "; ".join(f"violates {text} by {by:.3g}" for text, by in violations(self._space, values).items())


def _key(spec: dict[str, Any] | None, recipe: dict[str, Any] | None, params: dict[str, Any]) -> bytes:
    """Equal for candidates that would train the same: same architecture and recipe, or same parameters without them."""
    return hashlib.sha256(json.dumps([spec, recipe] if spec else params, sort_keys=True).encode()).digest()
