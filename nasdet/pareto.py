"""Pareto mathematics: dominance, hypervolume, knee and the front of a study.

One decision: values become costs (smaller is better) in one place, `as_costs`, so that the rest of the project does not
handle directions of objectives.
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
    """What a front needs to know of an objective: the name of its value, and whether more or less of it is better."""

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
    """Mask `(N,)` of the rows of `(N, D)` that no other row dominates. Of equal rows all or none are in it; rows with
    NaN never are."""
    if not np.size(values):
        return np.zeros(0, dtype=bool)
    costs = as_costs(values, directions)
    mask = np.zeros(len(costs), dtype=bool)
    left = np.flatnonzero(~np.isnan(costs).any(axis=1))
    if not left.size:
        return mask
    finite = np.clip(costs[left], -1e100, 1e100)  # so that infinite costs have a sum too
    spread = finite.std(axis=0)
    sums = (finite / np.where(spread > 0, spread, 1.0)).sum(axis=1)
    left = left[np.lexsort((*costs[left].T[::-1], sums))]
    columns = np.ascontiguousarray(costs[left].T)
    while left.size:
        # No remaining row dominates the one with the smallest sum (of equal sums the lexicographically smallest), so it
        # is on the front, with the rows equal to it. It dominates many others, which are removed.
        first = columns[:, :1]
        mask[left[(columns == first).all(axis=0)]] = True
        better = (columns < first).any(axis=0)
        left, columns = left[better], columns[:, better]
    return mask


def non_dominated_rank(values: ArrayLike, directions: Sequence[Direction]) -> NDArray[np.int64]:
    """Rank `(N,)` of the rows of `(N, D)`: 0 for the front, 1 for the front of the rest, and so on; rows with NaN come
    last."""
    table = np.asarray(values, dtype=np.float64).reshape(-1, len(directions))
    ranks = np.full(len(table), -1, dtype=np.int64)
    left = np.flatnonzero(~np.isnan(table).any(axis=1))
    rank = 0
    while left.size:
        on_front = non_dominated(table[left], directions)
        ranks[left[on_front]] = rank
        left, rank = left[~on_front], rank + 1
    ranks[ranks < 0] = rank
    return ranks


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Exact volume that `points` `(N, D)` dominate below `reference` `(D,)`, all objectives minimised.

    Points that are not below the reference in every objective, and points with NaN, add nothing.
    """
    corner = np.asarray(reference, dtype=np.float64)
    costs = np.asarray(points, dtype=np.float64).reshape(-1, len(corner))
    costs = costs[(costs < corner).all(axis=1)]
    if not len(costs):
        return 0.0
    costs = np.unique(costs, axis=0)  # sorted by the first objective, then the second, ...
    if len(corner) == 2:
        # Sorted so, a row is on the front if its second objective is smaller than that of every row before it.
        costs = costs[np.append(True, costs[1:, 1] < np.minimum.accumulate(costs[:, 1])[:-1])]
    else:
        costs = costs[non_dominated(costs, ["min"] * len(corner))]
    volume = _volume(costs, corner)
    return volume if np.isfinite(volume) else float("inf")


def _volume(costs: Floats, corner: Floats) -> float:
    """Hypervolume of the rows of a front, sorted by the first objective; with three or more, some may be dominated."""
    if len(corner) == 1:
        return float(corner[0] - costs[0, 0])
    if len(corner) == 2:
        # Rectangles: along the front the second objective falls. Each point reaches to the corner in the first
        # objective and to the point before it in the second.
        upper = np.concatenate([corner[1:], costs[:-1, 1]])
        return float((corner[0] - costs[:, 0]) @ (upper - costs[:, 1]))
    if len(corner) == 3:
        return _volume_3d(costs, corner)
    # Slices across the last objective: from one point's value to the next, the volume of the points up to there in the
    # other objectives, times the distance. There some dominate others, which the volume in three or more allows.
    by_last = np.argsort(costs[:, -1], kind="stable")
    depths = np.append(costs[by_last[1:], -1], corner[-1]) - costs[by_last, -1]
    slices = (np.sort(by_last[: i + 1]) for i in range(len(costs)))
    return float(sum(d * _volume(costs[s, :-1], corner[:-1]) for d, s in zip(depths, slices, strict=True)))


def _volume_3d(costs: Floats, corner: Floats) -> float:
    """Sum of area times height over the grid of the points' first two coordinates, in O(N^2)."""
    # The height over a cell is the largest of the points that are at most as large in both coordinates.
    order = np.argsort(costs[:, 1])
    height = np.zeros((len(costs), len(costs)))
    height[order, np.arange(len(costs))] = corner[2] - costs[order, 2]
    height = np.maximum.accumulate(np.maximum.accumulate(height, axis=0), axis=1)
    first, second = costs[:, 0], costs[order, 1]
    width = np.concatenate([first[1:], corner[:1]]) - first
    depth = np.concatenate([second[1:], corner[1:2]]) - second
    return float(np.dot(np.dot(height, depth), width))


def knee(values: ArrayLike, directions: Sequence[Direction]) -> int:
    """Index of the row of `(N, D)` with the best compromise between the objectives.

    With the front's costs scaled to 0..1 per objective, the knee is the point farthest, towards the ideal point, from
    the plane through the unit extremes (1, 0, ..), (0, 1, ..), ...; with two objectives that is the line through the
    ends of the front. Of equal points the first is taken.
    """
    on_front = np.flatnonzero(non_dominated(values, directions))
    if not on_front.size:
        raise ValueError("no row without NaN, so there is no knee")
    costs = as_costs(values, directions)[on_front]
    span = np.ptp(costs, axis=0)
    unit = (costs - costs.min(axis=0)) / np.where(span > 0, span, 1.0)
    return int(on_front[np.argmin(unit.sum(axis=1))])


def values_of(records: Sequence[TrialRecord], objectives: Sequence[ObjectiveLike]) -> Floats:
    """Objective values `(N, D)` of the records; NaN where a record has none."""
    rows = [[record.values.get(o.name, np.nan) for o in objectives] for record in records]
    return np.asarray(rows, dtype=np.float64).reshape(len(records), len(objectives))


class GrowingFront:
    """The front of records that come one by one: adding one costs the size of the front, not that of the study.

    Args:
        objectives: the D objectives of the study.
        records: of the study so far.

    Attributes:
        members: the records that `front` returns, in any order.
        costs: `(M, D)` of the members.
    """

    def __init__(self, objectives: Sequence[ObjectiveLike], records: Sequence[TrialRecord] = ()) -> None:
        self._objectives, self._directions = objectives, [o.direction for o in objectives]
        self.members: list[TrialRecord] = []
        self.costs = np.empty((0, len(objectives)))
        for record in front(records, objectives):
            self.add(record)

    def add(self, record: TrialRecord) -> bool:
        """Add a record if it is complete and no member dominates it; returns whether it is on the front."""
        row, costs = as_costs(values_of([record], self._objectives), self._directions), self.costs
        worse, differs = (costs <= row).all(axis=1), (costs != row).any(axis=1)
        if record.state != "complete" or not np.isfinite(row).all() or (worse & differs).any():
            return False
        stays = ~((costs >= row).all(axis=1) & differs)
        self.members = [*(m for m, kept in zip(self.members, stays, strict=True) if kept), record]
        self.costs = np.concatenate([costs[stays], row])
        return True


def front(records: Sequence[TrialRecord], objectives: Sequence[ObjectiveLike]) -> list[TrialRecord]:
    """The complete records that no other complete record dominates, the best in the first objective first."""
    complete = [r for r in records if r.state == "complete"]
    directions = [o.direction for o in objectives]
    if not complete:
        return []
    costs = as_costs(values_of(complete, objectives), directions)
    kept = np.flatnonzero(non_dominated(costs, ["min"] * len(directions)) & np.isfinite(costs).all(axis=1))
    return [complete[i] for i in sorted(kept, key=lambda i: (*costs[i], complete[i].number))]
