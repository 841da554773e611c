"""Pareto mathematics: who dominates whom, hypervolume, knee and the front of a study.

One decision: everything below turns values into costs (smaller is better) once, by `as_costs`, so that no other place
of the project handles directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasdet.trial import TrialRecord

Direction = Literal["max", "min"]
Floats = NDArray[np.float64]


class ObjectiveLike(Protocol):
    """What a front needs of an objective: the name of a value and whether more or less of it is better."""

    @property
    def name(self) -> str:
        """Key in `TrialRecord.values`."""

    @property
    def direction(self) -> Direction:
        """ "max" or "min"."""


class FrontStep(NamedTuple):
    """The front after one more finished trial."""

    step: int
    """Finished trials so far, from 1."""
    hypervolume: float
    front_size: int
    epochs: int
    """Epochs trained so far, over all trials."""
    seconds: float
    """Seconds trained so far, summed over trials (not wall-clock when trials run side by side)."""


def as_costs(values: ArrayLike, directions: Sequence[Direction]) -> Floats:
    """Values `(N, D)` with every "max" column negated, so that smaller is better everywhere."""
    costs = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if costs.shape[1] != len(directions):
        raise ValueError(f"{costs.shape[1]} columns of values for {len(directions)} directions")
    return costs * np.where([d == "max" for d in directions], -1.0, 1.0)


def non_dominated(values: ArrayLike, directions: Sequence[Direction]) -> NDArray[np.bool_]:
    """Mask `(N,)` of the rows of `(N, D)` that no other row dominates; equal rows stand together, NaN rows never do."""
    if not np.size(values):
        return np.zeros(0, dtype=bool)
    costs = as_costs(values, directions)
    mask = np.zeros(len(costs), dtype=bool)
    left = np.flatnonzero(~np.isnan(costs).any(axis=1))
    if not left.size:
        return mask
    shown = np.clip(costs[left], -1e100, 1e100)  # the infinite ones too have a sum
    spread = shown.std(axis=0)
    sums = (shown / np.where(spread > 0, spread, 1.0)).sum(axis=1)
    left = left[np.lexsort((*costs[left].T[::-1], sums))]
    columns = np.ascontiguousarray(costs[left].T)
    while left.size:
        # No other row left dominates the one with the smallest sum (of equal ones the lexicographically smallest), and
        # it dominates many.
        first = columns[:, :1]
        mask[left[(columns == first).all(axis=0)]] = True
        better = (columns < first).any(axis=0)
        left, columns = left[better], columns[:, better]
    return mask


def non_dominated_rank(values: ArrayLike, directions: Sequence[Direction]) -> NDArray[np.int64]:
    """Rank `(N,)` of the rows of `(N, D)`: 0 the front, 1 the front without it, ...; NaN rows come after all others."""
    table = np.asarray(values, dtype=np.float64).reshape(-1, len(directions))
    ranks = np.full(len(table), -1, dtype=np.int64)
    left = np.flatnonzero(~np.isnan(table).any(axis=1))
    rank = 0
    while left.size:
        on = non_dominated(table[left], directions)
        ranks[left[on]] = rank
        left, rank = left[~on], rank + 1
    ranks[ranks < 0] = rank
    return ranks


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Exact volume that `points` `(N, D)` dominate below `reference` `(D,)`, all objectives minimised.

    Points that are not below the reference in every objective, and points with NaN, add nothing. WFG (While et al.
    2012) as implemented in Optuna.
    """
    from optuna._hypervolume import compute_hypervolume

    corner = np.asarray(reference, dtype=np.float64)
    costs = np.asarray(points, dtype=np.float64).reshape(-1, len(corner))
    costs = costs[(costs < corner).all(axis=1)]
    return float(compute_hypervolume(costs, corner)) if len(costs) else 0.0


def knee(values: ArrayLike, directions: Sequence[Direction]) -> int:
    """Index of the row of `(N, D)` that gives up least for what it gains.

    The front's costs are scaled to 0..1 per objective; the knee lies farthest, towards the ideal point, from the plane
    through the unit extremes (1, 0, ..), (0, 1, ..), ...; with two objectives that is the line through the front's
    ends. The first of equals wins.
    """
    on = np.flatnonzero(non_dominated(values, directions))
    if not on.size:
        raise ValueError("no row without NaN, so there is no knee")
    costs = as_costs(values, directions)[on]
    span = np.ptp(costs, axis=0)
    unit = (costs - costs.min(axis=0)) / np.where(span > 0, span, 1.0)
    return int(on[np.argmin(unit.sum(axis=1))])


def values_of(records: Sequence[TrialRecord], objectives: Sequence[ObjectiveLike]) -> Floats:
    """Objective values `(N, D)` of the records; NaN where a record has none."""
    rows = [[record.values.get(o.name, np.nan) for o in objectives] for record in records]
    return np.asarray(rows, dtype=np.float64).reshape(len(records), len(objectives))


def front(records: Sequence[TrialRecord], objectives: Sequence[ObjectiveLike]) -> list[TrialRecord]:
    """The complete records that no other complete record dominates, best first objective first."""
    complete = [r for r in records if r.state == "complete"]
    directions = [o.direction for o in objectives]
    if not complete:
        return []
    costs = as_costs(values_of(complete, objectives), directions)
    kept = np.flatnonzero(non_dominated(costs, ["min"] * len(directions)) & np.isfinite(costs).all(axis=1))
    return [complete[i] for i in sorted(kept, key=lambda i: (*costs[i], complete[i].number))]
