"""Which paused candidate deserves more epochs: asynchronous successive halving over whole fronts (Li et al. 2020,
ASHA; Schmucker et al. 2021 for several objectives). One decision: candidates are ordered by what they add to the
hypervolume, layer by layer, so that the smallest network with no accuracy does not live on for being smallest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nasdet.pareto import as_costs, hypervolume, non_dominated_rank, values_of
from nasdet.search.freeze_thaw.hypervolume_improvement import boxes, expected_improvement
from nasdet.space import Objective
from nasdet.trial import TrialRecord

NEGLIGIBLE = 0.01
"""A member of a layer that adds less than this share of the layer's hypervolume is put off behind the next layer."""


def paused_at(
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    epochs: int,
    reference: Sequence[float],
    one_in: int = 1,
) -> list[TrialRecord]:
    """Those of `rank_rung` that wait at this rung."""
    order = rank_rung(records, objectives, epochs, reference, one_in)
    return [r for r in order if r.state == "paused" and r.epochs == epochs]


def rank_rung(
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    epochs: int,
    reference: Sequence[float],
    one_in: int = 1,
) -> list[TrialRecord]:
    """Records observed at this rung, best first; values at other rungs are not looked at. With
    `one_in`, only the best one of so many."""
    seen = [
        (record, record.replace(values=rung.values))
        for record in records
        for rung in record.rungs
        if rung.epochs == epochs and record.state != "failed"
    ]
    if not seen:
        return []
    costs = _costs([at for _, at in seen], objectives)
    corner = as_costs([reference], [o.direction for o in objectives])[0]
    count = len(seen) // one_in
    return [seen[i][0] for i in order_by_hypervolume(costs, corner, count)[:count]]


def order_by_hypervolume(
    costs: NDArray[np.float64], corner: NDArray[np.float64], first: int | None = None
) -> list[int]:
    """Order the rows of `costs` `(N, D)`, smaller is better, by layers of what they add to the hypervolume.

    Each layer is the non-dominated part of what is left, ordered greedily by gain in hypervolume below `corner`;
    members that add next to nothing are put off until every layer was served.

    Args:
        costs: smaller is better.
        corner: the reference point.
        first: how many of the order are wanted; more may be returned. None: all.
    """
    order: list[int] = []
    put_off: list[int] = []
    ranks = non_dominated_rank(costs, ["min"] * costs.shape[1])
    for rank in range(int(ranks.max()) + 1):
        layer = [int(i) for i in np.flatnonzero(ranks == rank)]
        chosen, weak = _greedy(costs, layer, corner)
        order += chosen
        put_off += weak
        if first is not None and len(order) >= first:
            return order
    return order + put_off


def _greedy(costs: NDArray[np.float64], layer: list[int], corner: NDArray[np.float64]) -> tuple[list[int], list[int]]:
    total = hypervolume(costs[layer], corner)
    chosen: list[int] = []
    left = list(layer)
    while left:
        gains = expected_improvement(boxes(costs[chosen], corner), costs[left], np.zeros((len(left), len(corner))))
        best = int(np.argmax(gains))
        if gains[best] <= NEGLIGIBLE * total:
            break
        chosen.append(left.pop(best))
    return chosen, left


def _costs(records: Sequence[TrialRecord], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    return as_costs(values_of(records, objectives), [o.direction for o in objectives])
