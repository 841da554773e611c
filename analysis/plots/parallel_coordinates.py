"""Parallel coordinates: the objectives and the parameters that mattered, as columns of numbers.

One decision: a parameter that has words or lists as values stands by the place of the value in its domain; where it
does not exist, a line passes below the column.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from nasdet.analysis.importance import Importance
from nasdet.analysis.plots.front_view import FrontView
from nasdet.space import Choice, SearchSpace
from nasdet.trial import TrialRecord

MOST = 6
"""Parameters beside the objectives."""
BELOW = -0.08
"""Height, of a column from 0 to 1, at which lines pass a parameter that they do not have."""
LOW, FULL, ON_FRONT = 0, 1, 2
"""Groups of trials, in the order in which they are drawn."""


@dataclasses.dataclass(frozen=True)
class Column:
    """One axis."""

    label: str
    values: tuple[float, ...]
    """Of every trial; NaN where the parameter does not exist."""
    names: tuple[str, ...]
    """What 0, 1, 2, ... stand for; empty for numbers."""
    groups: tuple[int, ...]
    """`LOW`, `FULL` or `ON_FRONT` of every trial."""

    def range(self) -> tuple[float, float]:
        """Least and greatest value, apart also where all are equal."""
        known = np.array([v for v in self.values if np.isfinite(v)] or [0.0])
        low, high = (0.0, len(self.names) - 1.0) if self.names else (float(known.min()), float(known.max()))
        return (low, high) if high > low else (low - 0.5, high + 0.5)

    def heights(self) -> list[float]:
        """Values from 0 to 1, `BELOW` where there is none."""
        low, high = self.range()
        return [(v - low) / (high - low) if np.isfinite(v) else BELOW for v in self.values]

    def drawn(self) -> list[float]:
        """Values in the column's own unit, with a place below for what does not exist."""
        low, high = self.range()
        return [low + (high - low) * height for height in self.heights()]

    def ticks(self) -> list[tuple[float, str]]:
        """(height, text) along the column."""
        low, high = self.range()
        if self.names:
            return [((i - low) / (high - low), name) for i, name in enumerate(self.names)]
        return [(0.0, f"{low:.3g}"), (1.0, f"{high:.3g}")]

    def colours(self, *three: str) -> list[str]:
        """The colour of every trial, of one for each group."""
        return [three[group] for group in self.groups]

    def widths(self) -> list[float]:
        """Line widths of every trial."""
        return [(0.5, 0.7, 1.6)[group] for group in self.groups]


def columns(view: FrontView, space: SearchSpace, rows: Sequence[Importance]) -> list[Column]:
    """The objectives, then the parameters of the greatest share in any objective.

    Args:
        view: the study.
        space: what was searched.
        rows: importance; empty if it is not known, and then the first parameters are taken.
    """
    trials = [*view.low_budget, *view.dominated, *view.front]
    groups = tuple([LOW] * len(view.low_budget) + [FULL] * len(view.dominated) + [ON_FRONT] * len(view.front))
    best: dict[str, float] = dict.fromkeys(space.parameters, 0.0)
    for row in rows:
        best[row.parameter] = max(best[row.parameter], row.share)
    chosen = sorted(best, key=lambda name: -best[name])[:MOST]
    objectives = [Column(a.name, tuple(r.values[a.name] for r in trials), (), groups) for a in view.axes]
    return objectives + [_parameter(name, trials, space, groups) for name in chosen]


def _parameter(name: str, trials: Sequence[TrialRecord], space: SearchSpace, groups: tuple[int, ...]) -> Column:
    domain = space.parameters[name]
    if isinstance(domain, Choice):
        known = [repr(v) for v in domain.values]
        places = tuple(_place(known, r.params.get(name, ...)) for r in trials)
        return Column(name, places, tuple(str(v) for v in domain.values), groups)
    return Column(name, tuple(float(r.params.get(name, np.nan)) for r in trials), (), groups)


def _place(known: list[str], value: Any) -> float:
    return float(known.index(repr(value))) if repr(value) in known else float("nan")
