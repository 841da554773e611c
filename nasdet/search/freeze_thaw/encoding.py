"""Encoding: from parameters to the numbers that a model sees, and back.

One decision: candidates are rows of the unit cube with one column for each parameter, also for those that do not exist
under the other values. So thousands of candidates are drawn, changed and compared without making a dictionary of any.
"""

from __future__ import annotations

import math
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from nasdet.space import Choice, Domain, Integer, Json, Params, Real, SearchSpace

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Encoder:
    """Rows `(N, P)` of the unit cube for the `P` parameters of a space, and their features `(N, C)`.

    A real, an integer or an ordered choice (its values are numbers, rising or falling) has one feature: its place in
    0..1, or 0.5 where the parameter does not exist. Any other choice has one feature for each value, which is 1/sqrt(2)
    for the chosen one, so that two different values are at distance 1, and zeros where the parameter does not exist.
    One feature for each distinct condition tells whether it holds.

    Attributes:
        groups: `(C,)` number of the length scale that each feature uses, from 0; all features of one parameter share
            one.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.names = list(space.parameters)
        self._domains = list(space.parameters.values())
        self._conditions = [space.conditions.get(name, {}) for name in self.names]
        # One parameter for each distinct condition: whether it exists is whether the condition holds.
        self._flags: list[int] = []
        seen: list[object] = [{}]
        for i, condition in enumerate(self._conditions):
            if condition not in seen:
                seen.append(condition)
                self._flags.append(i)
        widths = [len(d) if _unordered(d) else 1 for d in self._domains] + [1] * len(self._flags)
        self.groups = np.repeat(np.arange(len(widths)), widths)

    def snap(self, rows: Floats) -> Floats:
        """The rows, moved to the places of values that the domains have."""
        return np.stack([_snap(d, rows[:, i]) for i, d in enumerate(self._domains)], axis=1)

    def active(self, rows: Floats) -> Mask:
        """Which parameters exist, `(N, P)`, for snapped rows."""
        mask = np.ones(rows.shape, dtype=bool)
        # Parents come before their children, so column j is final when a child of it is looked at: a parameter exists
        # if each parent exists and has one of the allowed values. The tolerance is for rounding of `to_unit`.
        for i, condition in enumerate(self._conditions):
            for other, allowed in condition.items():
                j = self.names.index(other)
                units = [self._domains[j].to_unit(v) for v in allowed if self._domains[j].contains(v)]
                holds = (np.abs(rows[:, j, None] - np.array(units)[None, :]) <= 1e-9).any(axis=1)
                mask[:, i] &= mask[:, j] & holds
        return mask

    def features(self, rows: Floats) -> Floats:
        """Features `(N, C)` of snapped rows."""
        active, columns = self.active(rows), []
        for i, domain in enumerate(self._domains):
            on = active[:, i]
            if _unordered(domain):
                index = np.minimum((rows[:, i] * len(domain)).astype(int), len(domain) - 1)
                columns.append(np.eye(len(domain))[index] * on[:, None] / np.sqrt(2))
            else:
                columns.append(np.where(on, rows[:, i], 0.5)[:, None])
        columns += [active[:, i, None].astype(float) for i in self._flags]
        return np.concatenate(columns, axis=1)

    def row(self, params: Params) -> Floats:
        """The row `(P,)` of parameters; NaN for those that do not exist or whose value the domain does not have."""
        known = [n in params and d.contains(params[n]) for n, d in zip(self.names, self._domains, strict=True)]
        return np.array(
            [d.to_unit(params[n]) if k else np.nan for k, n, d in zip(known, self.names, self._domains, strict=True)]
        )

    def filled(self, rows: Floats, rng: np.random.Generator) -> Floats:
        """Rows with a random value for each parameter that does not exist, in case a change makes it exist."""
        return self.snap(np.where(np.isnan(rows), rng.random(rows.shape), rows))

    def params(self, row: Floats) -> Params:
        """Flat parameters of one row, without those that do not exist."""
        params: dict[str, Json] = {}
        for i, (name, domain) in enumerate(zip(self.names, self._domains, strict=True)):
            if self.space.is_active(name, params):
                params[name] = domain.from_unit(float(row[i]))
        return params

    def all_params(self, rows: Floats) -> list[Params]:
        """`params` of many snapped rows, faster."""
        columns = [_from_units(d, rows[:, i]) for i, d in enumerate(self._domains)]
        table = zip(zip(*columns, strict=True), self.active(rows).tolist(), strict=True)
        return [{n: v for n, v, on in zip(self.names, row, exists, strict=True) if on} for row, exists in table]

    def changed(self, rows: Floats, rng: np.random.Generator, share: float = 0.3) -> Floats:
        """Neighbours: of each row a `share` of the existing parameters, at least one, is moved by a normal step of 0.01
        to 0.3 of its range, the same scale for all of a row; an unordered choice gets another value."""
        count, active = len(rows), self.active(rows)
        chosen = (rng.random(rows.shape) < share) & active
        at_least = np.where(active, rng.random(rows.shape), -1.0).argmax(axis=1)
        chosen[np.arange(count), at_least] = True
        step = 10 ** rng.uniform(-2.0, -0.5, size=(count, 1)) * rng.standard_normal(rows.shape)
        for i, domain in enumerate(self._domains):
            if not isinstance(domain, Real):  # at least to the neighbouring value
                step[:, i] = np.sign(step[:, i]) * np.maximum(np.abs(step[:, i]), 1.0 / _levels(domain))
        moved = rows + step
        # A step beyond the edge of the cube is reflected.
        moved = np.where(moved < 0, -moved, np.where(moved > 1, 2 - moved, moved)).clip(0, 1)
        drawn = rng.random(rows.shape)
        for i, domain in enumerate(self._domains):
            if _unordered(domain):  # skip 1 to count - 1 values ahead, cyclically: all others are equally likely
                count = len(domain)
                other = (rows[:, i] * count).astype(int) + 1 + (drawn[:, i] * (count - 1)).astype(int)
                moved[:, i] = (other % count + 0.5) / count
        return self.snap(np.where(chosen, moved, rows))


def _from_units(domain: Domain, units: Floats) -> list[Json]:
    """`domain.from_unit` of each, faster."""
    if isinstance(domain, Real):
        low, high = (math.log(domain.low), math.log(domain.high)) if domain.log else (domain.low, domain.high)
        values = (low + units * (high - low)).tolist()
        reals = [math.exp(v) for v in values] if domain.log else values
        return list(np.clip(reals, domain.low, domain.high).tolist())
    if isinstance(domain, Integer) and domain.log:
        return list(_whole(domain, units).astype(int).tolist())
    known = domain.values if isinstance(domain, Choice) else range(domain.low, domain.high + 1, domain.step)
    return [known[k] for k in np.minimum((units * len(known)).astype(int), len(known) - 1).tolist()]


def _unordered(domain: Domain) -> TypeGuard[Choice]:
    """Whether a domain's values have no order that a model could use."""
    if not isinstance(domain, Choice) or len(domain) == 2:
        return False
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in domain.values):
        return True
    values = list(domain.values)
    return values not in (sorted(values), sorted(values, reverse=True))


def _levels(domain: Choice | Integer) -> int:
    """Number of about equal parts that the values divide the unit interval into."""
    return 1 + len(domain) if isinstance(domain, Integer) and domain.log else len(domain)


def _snap(domain: Domain, units: Floats) -> Floats:
    """The middle of the part of the unit interval that belongs to the value at each place."""
    if isinstance(domain, Real):
        return units
    if isinstance(domain, Integer) and domain.log:
        low, high = np.log(domain.low - 0.5), np.log(domain.high + 0.5)
        return np.asarray((np.log(_whole(domain, units)) - low) / (high - low))
    return np.asarray((np.minimum((units * len(domain)).astype(int), len(domain) - 1) + 0.5) / len(domain))


def _whole(domain: Integer, units: Floats) -> Floats:
    """The values of an integer that is searched on the logarithm."""
    low, high = np.log(domain.low - 0.5), np.log(domain.high + 0.5)
    return np.asarray(np.clip(np.round(np.exp(low + units * (high - low))), domain.low, domain.high))
