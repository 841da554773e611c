"""The space's constraints applied to values. One decision: a constraint on a value that is not known yet is kept."""

from __future__ import annotations

from collections.abc import Mapping

from nasdet.space import SearchSpace


def violations(space: SearchSpace, values: Mapping[str, float]) -> dict[str, float]:
    """Broken constraints of the space as text -> by how much, in the value's own unit."""
    known = [c for c in space.constraints if c.name in values]
    return {str(c): c.violation(values) for c in known if not c.holds(values)}


def bounds(space: SearchSpace, name: str) -> tuple[float, float]:
    """The tightest lower (0 without one) and upper bound (infinite without one) of a value that is never negative."""
    own = [c for c in space.constraints if c.name == name]
    low = max((c.bound for c in own if c.op.startswith(">")), default=0.0)
    return low, min((c.bound for c in own if c.op.startswith("<")), default=float("inf"))
