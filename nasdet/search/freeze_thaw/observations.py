"""What a model may learn from the results of a study. One decision: observations are in the order in which they were
told, and only so many of them, so that a decision takes the same time late in a study as in the middle of it."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

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


def with_failures(seen: Observations, failed: Ints, epochs: Ints) -> Observations:
    """A failed trial counts as the worst value, where it failed or at the first rung; only the newest do, a tenth of
    all that a model sees, so that they do not push out what can still go on.

    Args:
        seen: what was told.
        failed: `(F,)` positions of the failed records.
        epochs: `(F,)` that they were trained.
    """
    failed, epochs = failed[-(MOST // 10) :], epochs[-(MOST // 10) :]
    if not len(failed) or not len(seen):
        return seen
    return Observations(
        np.concatenate([seen.who, failed]),
        np.concatenate([seen.epochs, np.maximum(epochs, seen.epochs.min())]),
        np.concatenate([seen.values, np.full(len(failed), seen.values.max())]),
    )


def bounded(seen: Observations, most: int = MOST) -> Observations:
    """At most so many: the last of each candidate before others, then those at higher rungs, then newer ones; but a
    third of the places is for the newest whatever their rung, so that a long study still sees how candidates begin."""
    if len(seen) <= most:
        return seen
    index = np.arange(len(seen))
    _, from_end = np.unique(seen.who[::-1], return_index=True)
    last = np.zeros(len(seen), dtype=bool)
    last[len(seen) - 1 - from_end] = True
    order = np.lexsort((index, seen.epochs, last))[::-1]
    top, rest = order[: most - most // 3], order[most - most // 3 :]
    newest = np.lexsort((rest, np.where(last, 0.0, seen.epochs)[rest], last[rest]))[::-1]
    return seen[np.sort(np.concatenate([top, rest[newest[: most // 3]]]))]
