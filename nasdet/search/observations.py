"""What a model may learn from the records of a study. One decision: observations are in the order in which they were
told, and only so many of them, so that a decision takes the same time late in a study as in the middle of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nasdet.space import Objective
from nasdet.space.trial import TrialRecord

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST = 300
"""Observations a model sees."""


@dataclasses.dataclass(frozen=True)
class Observations:
    """Values of one objective, in the order in which they were told.

    Attributes:
        who: `(N,)` position of the record among the records.
        epochs: `(N,)` budget.
        values: `(N,)` smaller is better.
    """

    who: Ints
    epochs: Floats
    values: Floats

    def __len__(self) -> int:
        return len(self.who)

    def __getitem__(self, index: slice | Ints) -> Observations:
        return Observations(self.who[index], self.epochs[index], self.values[index])


def observe(records: Sequence[TrialRecord], objective: Objective) -> Observations:
    """Every finite value of an objective at every rung."""
    sign = -1.0 if objective.direction == "max" else 1.0
    seen: list[tuple[int, int, int, float]] = []
    for i, record in enumerate(records):
        for rung in record.rungs:
            value = rung.values.get(objective.name, np.nan)
            if np.isfinite(value):
                seen.append((rung.told, i, rung.epochs, sign * value))
    return _table(sorted(seen, key=lambda s: s[:2]))


def with_failures(seen: Observations, records: Sequence[TrialRecord]) -> Observations:
    """A failed trial counts as the worst value, where it failed or at the first rung."""
    failed = [i for i, r in enumerate(records) if r.state == "failed"]
    if not failed or not len(seen):
        return seen
    worst, first = float(seen.values.max()), float(seen.epochs.min())
    return Observations(
        np.concatenate([seen.who, np.array(failed)]),
        np.concatenate([seen.epochs, np.array([max(records[i].epochs, first) for i in failed])]),
        np.concatenate([seen.values, np.full(len(failed), worst)]),
    )


def bounded(seen: Observations, most: int = MOST) -> Observations:
    """At most so many: the last of each candidate before others, then those at higher rungs, then newer ones."""
    if len(seen) <= most:
        return seen
    last = np.zeros(len(seen), dtype=bool)
    last[list({int(w): k for k, w in enumerate(seen.who)}.values())] = True
    order = np.lexsort((np.arange(len(seen)), seen.epochs, last))
    return seen[np.sort(order[::-1][:most])]


def _table(seen: list[tuple[int, int, int, float]]) -> Observations:
    return Observations(
        np.array([s[1] for s in seen], dtype=np.int64),
        np.array([s[2] for s in seen], dtype=np.float64),
        np.array([s[3] for s in seen], dtype=np.float64),
    )


def is_static(records: Sequence[TrialRecord], name: str) -> bool:
    """Whether a value does not depend on the budget, as far as three or more trials seen at several rungs tell."""
    curves = [[r.values[name] for r in record.rungs if name in r.values] for record in records]
    longer = [c for c in curves if len(c) > 1]
    constant = all(v == c[0] for c in longer for v in c)
    return len(longer) >= 3 and constant and len({c[0] for c in longer}) > 1
