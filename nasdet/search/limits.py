"""The space's constraints applied to values. One decision: a constraint on a value that is not known yet is kept."""

from __future__ import annotations

from collections.abc import Mapping

from nasdet.space import SearchSpace


def violations(space: SearchSpace, values: Mapping[str, float]) -> dict[str, float]:
    """Broken constraints of the space as text -> by how much, in the value's own unit."""
    known = [c for c in space.constraints if c.name in values]
    return {str(c): c.violation(values) for c in known if not c.holds(values)}


def upper_bound(space: SearchSpace, name: str) -> float | None:
    """The tightest upper bound that the constraints put on a value; None without one."""
    bounds = [c.bound for c in space.constraints if c.name == name and c.op.startswith("<")]
    return min(bounds, default=None)
