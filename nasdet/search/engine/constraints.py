"""The space's constraints, checked against the values that are known of a trial; a constraint on a value that is not
known yet counts as satisfied."""

from __future__ import annotations

from collections.abc import Mapping

from nasdet.space import SearchSpace


def violations(space: SearchSpace, values: Mapping[str, float]) -> dict[str, float]:
    """Violated constraints as text, with the distance beyond the bound in the value's own unit."""
    known = [c for c in space.constraints if c.name in values]
    return {str(c): c.violation(values) for c in known if not c.holds(values)}


def bounds(space: SearchSpace, name: str) -> tuple[float, float]:
    """The tightest lower bound (0 if there is none) and upper bound (infinity if there is none) of a non-negative
    value."""
    own = [c for c in space.constraints if c.name == name]
    low = max((c.bound for c in own if c.op.startswith(">")), default=0.0)
    return low, min((c.bound for c in own if c.op.startswith("<")), default=float("inf"))
