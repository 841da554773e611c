"""Expected hypervolume improvement in closed form.

One decision: the region that no point of the front dominates is cut into disjoint boxes. Over a box the expectation for
independent normal objectives is a product of one-dimensional ones. An objective that is known before training is a
normal of deviation 0, so one formula serves any mix of known and predicted objectives.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nasdet.pareto import non_dominated

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_POINTS = {1: 10**6, 2: 300, 3: 60, 4: 14}
"""Points of the front that boxes are cut along, by the number of objectives; 6 for more objectives."""


@dataclasses.dataclass(frozen=True)
class Boxes:
    """Disjoint boxes that fill the region below the reference point that no point of the front dominates; smaller is
    better.

    Attributes:
        edges: for each objective the coordinates of box edges, rising; the first is minus infinity.
        low: `(B, D)` index into `edges` of each box's lower edge.
        high: `(B, D)` index into `edges` of its upper edge.
    """

    edges: tuple[Floats, ...]
    low: Ints
    high: Ints


def decompose(front: Floats, reference: Floats) -> Boxes:
    """Cut the region that no row of `front` `(N, D)` dominates below `reference` `(D,)` into boxes.

    Exact, up to `MAX_POINTS`: of a larger front the points that are spread out most are kept.
    """
    size = len(reference)
    points = np.asarray(front, dtype=np.float64).reshape(-1, size)
    points = points[(points < reference).all(axis=1)]
    points = points[non_dominated(points, ["min"] * size)]
    points = _thinned(np.unique(points, axis=0), reference, MAX_POINTS.get(size, 6))
    # The points' coordinates in all objectives but the first form a grid of cells. Over a cell the region reaches in
    # the first objective from minus infinity up to a height: the reference where nothing dominates the cell, else the
    # smallest first coordinate of the points that do.
    grid = [np.concatenate([[-np.inf], np.unique(points[:, d]), [reference[d]]]) for d in range(1, size)]
    heights = np.full([len(g) - 1 for g in grid], reference[0])
    # A point dominates its own cell, the first one that starts at its coordinates ...
    for point in points:
        cell = tuple(int(np.searchsorted(g, point[d + 1])) for d, g in enumerate(grid))
        heights[cell] = min(heights[cell], point[0])
    # ... and every cell after it along any axis.
    for axis in range(heights.ndim):
        heights = np.minimum.accumulate(heights, axis=axis)
    tops = np.unique(heights)
    first_edges = np.concatenate([[-np.inf], tops])
    low, high = _joined(heights, tops)
    return Boxes((first_edges, *grid), low, high)


def expected_improvement(boxes: Boxes, mean: Floats, deviation: Floats) -> Floats:
    """Expected gain in hypervolume `(M,)` of single points with independent normal objectives `(M, D)`.

    A point y gains, in each box, the volume of the part that it dominates: the product over the objectives of the
    length between max(low, y) and high, which is (high - y)+ - (low - y)+. The objectives are independent, so the
    expectation of the product is the product of the expectations; the boxes are disjoint, so their gains add up.
    """
    result = np.ones((len(boxes.low), len(mean)))
    for d, edges in enumerate(boxes.edges):
        below = np.ascontiguousarray(expected_below(edges, mean[:, d], deviation[:, d]).T)  # (E, M), fetched by rows
        length = below[boxes.high[:, d]]
        length -= below[boxes.low[:, d]]
        result *= length
    return np.asarray(result.sum(axis=0))


def expected_below(edges: Floats, mean: Floats, deviation: Floats) -> Floats:
    """E[(edge - y)+] `(M, E)` for normal y; the deviation may be 0 and an edge minus infinity, whose value is 0."""
    finite = np.where(np.isfinite(edges), edges, 0.0)
    distance = finite[None, :] - mean[:, None]
    if deviation.any():
        # With z = (edge - mean) / deviation: (edge - mean) Phi(z) + deviation phi(z). Beyond 38 deviations Phi and phi
        # are 0 or 1 in double precision, and z squared would overflow for tiny deviations.
        positive = np.maximum(deviation, 1e-300)[:, None]
        z = np.clip(distance / positive, -38.0, 38.0)
        normal = distance * ndtr(z) + positive * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
        distance = np.where(deviation[:, None] > 0, normal, distance)
    return np.where(np.isfinite(edges)[None, :], np.maximum(distance, 0.0), 0.0)


def _joined(heights: Floats, tops: Floats) -> tuple[Ints, Ints]:
    """Edge indices `(B, D)`, lower and upper, of the boxes over the grid's cells; neighbours along the last axis that
    are equally high become one box, which keeps their number small."""
    size = heights.ndim + 1
    if size == 1:
        return np.zeros((1, 1), dtype=np.int64), np.ones((1, 1), dtype=np.int64)
    # A box starts at a cell whose height differs from that of the cell before it ...
    starts = np.ones(heights.shape, dtype=bool)
    starts[..., 1:] = heights[..., 1:] != heights[..., :-1]
    at = np.argwhere(starts)
    # ... and ends where the next box of the same row starts, or at the end of the row.
    count, last = len(at), heights.shape[-1]
    ends = np.full(count, last)
    same_row = (at[1:, :-1] == at[:-1, :-1]).all(axis=1)
    ends[:-1][same_row] = at[1:, -1][same_row]
    low, high = np.zeros((count, size), dtype=np.int64), np.empty((count, size), dtype=np.int64)
    low[:, 1:], high[:, 1:] = at, at + 1
    high[:, -1] = ends
    high[:, 0] = 1 + np.searchsorted(tops, heights[starts])  # edge 0 is minus infinity
    return low, high


def _thinned(points: Floats, reference: Floats, most: int) -> Floats:
    """At most `most` points, chosen one by one: always the one farthest from those chosen before, in units of the
    front's range."""
    if len(points) <= most:
        return points
    unit = (points - points.min(axis=0)) / (reference - points.min(axis=0))
    kept = [int(unit.sum(axis=1).argmin())]
    distance = np.full(len(points), np.inf)
    while len(kept) < most:
        distance = np.minimum(distance, np.abs(unit - unit[kept[-1]]).sum(axis=1))
        kept.append(int(distance.argmax()))
    return points[sorted(kept)]
