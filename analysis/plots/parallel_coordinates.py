"""Parallel coordinates: every measured trial as a line over the objectives and the parameters that mattered.

A parameter that has words or lists as values is drawn at the place of its value in the domain; where a trial does not
have the parameter, its line passes below the column.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nasdet.analysis.importance import Importance
from nasdet.analysis.plots.front_view import FrontView
from nasdet.analysis.plots.style import FRONT, GREY, INK, OTHER, QUIET, frame, new_figure, plotly_layout, save
from nasdet.space import Choice, SearchSpace
from nasdet.trial import TrialRecord

MOST = 6
"""Parameters beside the objectives."""
BELOW = -0.08
"""Height, of a column from 0 to 1, at which lines pass a parameter that they do not have."""
LOW, FULL, ON_FRONT = 0, 1, 2
"""Groups of trials, in the order in which they are drawn."""
GROUP_COLOURS, GROUP_WIDTHS = (GREY, OTHER, FRONT), (0.5, 0.7, 1.6)
"""Colour and width of the lines of each group."""
FEW = 8
"""Up to this number of different values, each has its own tick in the interactive figure."""


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

    def ticks(self) -> list[tuple[float, str]]:
        """(height, text) along the column."""
        low, high = self.range()
        if self.names:
            return [((i - low) / (high - low), name) for i, name in enumerate(self.names)]
        return [(0.0, f"{low:.3g}"), (1.0, f"{high:.3g}")]


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
        places = {repr(value): float(place) for place, value in enumerate(domain.values)}
        values = tuple(places.get(repr(r.params.get(name, ...)), np.nan) for r in trials)
        return Column(name, values, tuple(str(v) for v in domain.values), groups)
    return Column(name, tuple(float(r.params.get(name, np.nan)) for r in trials), (), groups)


def parallel_png(columns: Sequence[Column], view: FrontView, path: Path) -> None:
    """Draw the columns as a still picture."""
    figure = new_figure(max(7.0, 1.5 * len(columns)), 4.2, f"{view.summary.study}: all candidates")
    axes = figure.subplots()
    lines = np.array([column.heights() for column in columns]).T
    for line, group in zip(lines, columns[0].groups, strict=True):
        axes.plot(range(len(columns)), line, color=GROUP_COLOURS[group], linewidth=GROUP_WIDTHS[group], alpha=0.75)
    axes.set_xticks(range(len(columns)), [c.label for c in columns], rotation=20, ha="right", fontsize=8)
    for place, column in enumerate(columns):
        for height, text in column.ticks():
            axes.text(place + 0.03, height, text, fontsize=7, color=INK)
    axes.set_yticks([])
    axes.set_xlabel("red: Pareto front, blue: full budget, grey: below it", color=QUIET, fontsize=8)
    frame([axes])
    save(figure, path)


def parallel_figure(columns: Sequence[Column]) -> Any:
    """The same as an interactive figure, in which a range can be chosen on every column."""
    import plotly.graph_objects as go

    scale = [[group / 2, colour] for group, colour in enumerate(GROUP_COLOURS)]
    line = {"color": list(columns[0].groups), "colorscale": scale, "cmin": 0, "cmax": 2, "showscale": False}
    dimensions = [_dimension(column) for column in columns]
    lines = go.Parcoords(dimensions=dimensions, line=line, labelangle=-20, labelfont={"size": 12})
    return go.Figure(lines, plotly_layout(margin={"l": 60, "r": 60, "t": 90, "b": 30}))


def _dimension(column: Column) -> dict[str, Any]:
    low, high = column.range()
    drawn = [low + (high - low) * height for height in column.heights()]
    dimension = {"label": column.label, "values": drawn, "range": [min(low, min(drawn, default=low)), high]}
    different = sorted({v for v in column.values if np.isfinite(v)})
    if column.names:
        dimension |= {"tickvals": list(range(len(column.names))), "ticktext": list(column.names)}
    elif len(different) <= FEW:
        dimension |= {"tickvals": different, "ticktext": [f"{v:g}" for v in different]}
    return dimension
