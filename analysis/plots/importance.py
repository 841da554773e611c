"""How much each parameter mattered: the most important ones of each objective as bars, and what chance gives as a
tick."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nasdet.analysis.importance import Importance
from nasdet.analysis.plots.style import (
    FRONT,
    GREY,
    GRID,
    INK,
    OTHER,
    frame,
    new_figure,
    plotly_axis,
    plotly_layout,
    save,
)

BARS = 10
"""Parameters drawn for each objective."""


def importance_png(rows: Sequence[Importance], title: str, path: Path) -> None:
    """Draw a panel for each objective, side by side."""
    objectives = list(dict.fromkeys(row.objective for row in rows))
    figure = new_figure(4.2 * len(objectives) + 1.2, 4.2, f"{title}: importance")
    panels = figure.subplots(1, len(objectives), squeeze=False)[0]
    for axes, objective in zip(panels, objectives, strict=True):
        shown = _shown(rows, objective)
        places = range(len(shown))
        axes.barh(places, [row.share for row in shown], color=[_colour(row) for row in shown], height=0.66)
        axes.plot([row.chance for row in shown], places, "|", color=FRONT, markersize=11, label="reached by chance")
        axes.set_yticks(places, [row.parameter for row in shown], fontsize=8)
        axes.set_xlim(0, 1.15 * _largest(shown))
        axes.set_title(objective, fontsize=10, color=INK)
        axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    panels[0].legend(loc="lower right", fontsize=8, frameon=True, edgecolor=GRID)
    frame(panels)
    save(figure, path)


def importance_figure(rows: Sequence[Importance]) -> Any:
    """The same as an interactive figure, the panels below each other."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    objectives = list(dict.fromkeys(row.objective for row in rows))
    figure = make_subplots(rows=len(objectives), cols=1, subplot_titles=objectives, vertical_spacing=0.09)
    tick = {"symbol": "line-ns", "size": 14, "line": {"width": 2, "color": FRONT}}
    for place, objective in enumerate(objectives, start=1):
        shown = _shown(rows, objective)
        names = [row.parameter for row in shown]
        bars = go.Bar(
            x=[row.share for row in shown],
            y=names,
            orientation="h",
            marker={"color": [_colour(row) for row in shown]},
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        )
        chance = go.Scatter(
            x=[row.chance for row in shown],
            y=names,
            mode="markers",
            marker=tick,
            hovertemplate="by chance: %{x:.1%}<extra></extra>",
        )
        figure.add_traces([bars, chance], rows=place, cols=1)
        figure.update_xaxes(plotly_axis(tickformat=".0%", range=[0, 1.1 * _largest(shown)]), row=place, col=1)
        figure.update_yaxes(plotly_axis(), row=place, col=1)
    margin = {"l": 60, "r": 10, "t": 30, "b": 40}
    return figure.update_layout(plotly_layout(showlegend=False, bargap=0.35, margin=margin))


def _shown(rows: Sequence[Importance], objective: str) -> list[Importance]:
    """The most important parameters of an objective, the least of them first as bars are stacked from below."""
    return [row for row in rows if row.objective == objective][:BARS][::-1]


def _colour(row: Importance) -> str:
    return OTHER if row.share > row.chance else GREY


def _largest(shown: Sequence[Importance]) -> float:
    return max((max(row.share, row.chance) for row in shown), default=1.0) or 1.0
