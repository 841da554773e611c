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


def observe(records: Sequence[TrialRecord], objective: Objective, *, most: int = MOST) -> Observations:
    """Every finite value of an objective at every rung; a failed trial counts as the worst one where it failed.

    Where there are more than `most`: the last ones of each candidate come first, those at higher rungs before others,
    newer before older.
    """
    sign = -1.0 if objective.direction == "max" else 1.0
    seen: list[tuple[int, int, int, float, bool]] = []
    for i, record in enumerate(records):
        for j, rung in enumerate(record.rungs):
            value = rung.values.get(objective.name, np.nan)
            if np.isfinite(value):
                seen.append((rung.told, i, rung.epochs, sign * value, j == len(record.rungs) - 1))
    seen.sort(key=lambda s: s[:2])
    if seen:
        worst, first = max(s[3] for s in seen), min(s[2] for s in seen)
        for i, record in enumerate(records):
            if record.state == "failed":
                seen.append((0, i, max(record.epochs, first), worst, True))
    if len(seen) > most:
        order = sorted(range(len(seen)), key=lambda k: (seen[k][4], seen[k][2], k), reverse=True)
        seen = [seen[k] for k in sorted(order[:most])]
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
