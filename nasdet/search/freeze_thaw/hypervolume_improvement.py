"""Expected hypervolume improvement in closed form. One decision: the region that no point of the front dominates is cut
into boxes over which independent normal objectives factor; one known before training is a normal of deviation 0, so one
formula serves any mix of known and learnt objectives."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nasdet.pareto import non_dominated

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_POINTS = {1: 10**6, 2: 300, 3: 60, 4: 14}
"""Points of the front that are cut along, by the number of objectives; 6 for more of them."""


@dataclasses.dataclass(frozen=True)
class Boxes:
    """Disjoint boxes that fill what is below the reference point and not dominated, smaller being better.

    Attributes:
        edges: for each objective the coordinates that boxes end at, rising, the first is minus infinity.
        low: `(B, D)` index of each box's lower edge.
        high: `(B, D)` index of its upper edge.
    """

    edges: tuple[Floats, ...]
    low: Ints
    high: Ints


def boxes(front: Floats, reference: Floats) -> Boxes:
    """Cut the region that no row of `front` `(N, D)` dominates below `reference` `(D,)`.

    Columns over the grid of all objectives but the first, each as high as the points under it allow; neighbours of
    equal height are joined. Exact, up to `MAX_POINTS`: of a larger front the points most spread out are kept.
    """
    size = len(reference)
    points = np.asarray(front, dtype=np.float64).reshape(-1, size)
    points = points[(points < reference).all(axis=1)]
    points = points[non_dominated(points, ["min"] * size)]
    points = _thinned(np.unique(points, axis=0), reference, MAX_POINTS.get(size, 6))
    grid = [np.concatenate([[-np.inf], np.unique(points[:, d]), [reference[d]]]) for d in range(1, size)]
    heights = np.full([len(g) - 1 for g in grid], reference[0])
    for point in points:
        cell = tuple(int(np.searchsorted(g, point[d + 1])) for d, g in enumerate(grid))
        heights[cell] = min(heights[cell], point[0])
    for axis in range(heights.ndim):
        heights = np.minimum.accumulate(heights, axis=axis)
    tops = np.unique(heights)
    first_edges = np.concatenate([[-np.inf], tops])
    low, high = _joined(heights, tops)
    return Boxes((first_edges, *grid), low, high)


def expected_improvement(cut: Boxes, mean: Floats, deviation: Floats) -> Floats:
    """Expected gain in hypervolume `(M,)` of one point with independent normal objectives `(M, D)`."""
    result = np.ones((len(cut.low), len(mean)))
    for d, edges in enumerate(cut.edges):
        below = np.ascontiguousarray(expected_below(edges, mean[:, d], deviation[:, d]).T)  # whole rows are fetched
        share = below[cut.high[:, d]]
        share -= below[cut.low[:, d]]
        result *= share
    return np.asarray(result.sum(axis=0))


def expected_below(edges: Floats, mean: Floats, deviation: Floats) -> Floats:
    """E[(edge - y)+] `(M, E)` for y normal; deviation 0 is allowed, as is an edge at minus infinity."""
    finite = np.where(np.isfinite(edges), edges, 0.0)
    distance = finite[None, :] - mean[:, None]
    if deviation.any():
        wide = np.maximum(deviation, 1e-300)[:, None]
        z = np.clip(distance / wide, -38.0, 38.0)
        normal = distance * ndtr(z) + wide * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
        distance = np.where(deviation[:, None] > 0, normal, distance)
    return np.where(np.isfinite(edges)[None, :], np.maximum(distance, 0.0), 0.0)


def _joined(heights: Floats, tops: Floats) -> tuple[Ints, Ints]:
    """Edge indices of the columns, joined along the last axis where neighbours are equally high."""
    size = heights.ndim + 1
    if size == 1:
        return np.zeros((1, 1), dtype=np.int64), np.ones((1, 1), dtype=np.int64)
    starts = np.ones(heights.shape, dtype=bool)
    starts[..., 1:] = heights[..., 1:] != heights[..., :-1]
    at = np.argwhere(starts)
    count, last = len(at), heights.shape[-1]
    ends = np.full(count, last)
    same_row = (at[1:, :-1] == at[:-1, :-1]).all(axis=1)
    ends[:-1][same_row] = at[1:, -1][same_row]
    low, high = np.zeros((count, size), dtype=np.int64), np.empty((count, size), dtype=np.int64)
    low[:, 1:], high[:, 1:] = at, at + 1
    high[:, -1] = ends
    high[:, 0] = 1 + np.searchsorted(tops, heights[starts])
    return low, high


def _thinned(points: Floats, reference: Floats, most: int) -> Floats:
    """At most so many points: always the one farthest from those kept, in units of the front's range."""
    if len(points) <= most:
        return points
    unit = (points - points.min(axis=0)) / (reference - points.min(axis=0))
    kept = [int(unit.sum(axis=1).argmin())]
    distance = np.full(len(points), np.inf)
    while len(kept) < most:
        distance = np.minimum(distance, np.abs(unit - unit[kept[-1]]).sum(axis=1))
        kept.append(int(distance.argmax()))
    return points[sorted(kept)]
