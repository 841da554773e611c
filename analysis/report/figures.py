"""The interactive figures of the report. One decision: they share the page's one copy of plotly's script, so each is a
placeholder with its data, which the page's script draws when it comes into view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nasdet.analysis.hypervolume_curves import Curve, curves_figure
from nasdet.analysis.importance import Importance
from nasdet.analysis.plots.front_view import FRONT, GREY, OTHER, FrontView
from nasdet.analysis.plots.interactive_front import base_layout, front_figure, grid
from nasdet.analysis.plots.parallel_coordinates import Column

BARS = 10
FEW = 8
"""Different values up to which each has its own tick."""


def front_div(view: FrontView) -> str:
    """The front; its members carry their place on it, by which the page finds their cards."""
    figure = front_figure(view)
    figure.data[2].customdata = list(range(len(view.front)))
    figure.data[2].hovertemplate, figure.data[2].text, figure.data[2].hoverinfo = None, None, "none"
    figure.update_layout(margin={"l": 70, "r": 10, "t": 70, "b": 60})
    return _div(figure, "front", 460)


def hypervolume_div(view: FrontView) -> str:
    """The hypervolume over the finished trials."""
    import plotly.graph_objects as go

    steps = view.history
    line = go.Scatter(
        x=[s.step for s in steps],
        y=[s.hypervolume for s in steps],
        mode="lines",
        line={"color": FRONT, "width": 2, "shape": "hv"},
        customdata=[[s.front_size, s.epochs, s.seconds / 60] for s in steps],
        hovertemplate="after %{x} trials: %{y:.4g}<br>%{customdata[0]} on the front<br>"
        "%{customdata[1]} epochs, %{customdata[2]:.1f} min of training<extra></extra>",
    )
    axes = {
        "xaxis": grid() | {"title": {"text": "finished trials"}, "tickformat": "d"},
        "yaxis": grid() | {"title": {"text": "hypervolume"}, "rangemode": "tozero"},
    }
    return _div(go.Figure(line, base_layout() | axes | _tight()), "hypervolume", 300)


def curves_div(curves: Sequence[Curve]) -> str:
    """The search and random search, over the epochs and over the time."""
    figure = curves_figure(curves)
    figure.update_layout(title=None, font=base_layout()["font"], margin={"l": 70, "r": 10, "t": 40, "b": 60})
    return _div(figure, "curves", 320)


def importance_div(rows: Sequence[Importance]) -> str:
    """A panel for each objective: the most important parameters, and what chance gives as a tick."""
    from plotly.subplots import make_subplots

    objectives = list(dict.fromkeys(row.objective for row in rows))
    figure = make_subplots(rows=len(objectives), cols=1, subplot_titles=objectives, vertical_spacing=0.09)
    for place, objective in enumerate(objectives, 1):
        shown = [row for row in rows if row.objective == objective][:BARS][::-1]
        for trace in _bars(shown):
            figure.add_trace(trace, row=place, col=1)
        top = 1.1 * max((max(row.share, row.chance) for row in shown), default=1.0) or 1.0
        figure.update_xaxes(grid() | {"tickformat": ".0%", "range": [0, top]}, row=place, col=1)
        figure.update_yaxes(grid(), row=place, col=1)
    layout = (
        {k: v for k, v in base_layout().items() if k != "legend"} | _tight() | {"showlegend": False, "bargap": 0.35}
    )
    figure.update_layout(layout | {"margin": {"l": 60, "r": 10, "t": 30, "b": 40}})
    return _div(figure, "importance", 290 * len(objectives))


def _bars(shown: Sequence[Importance]) -> list[Any]:
    import plotly.graph_objects as go

    names = [row.parameter for row in shown]
    colours = [OTHER if row.share > row.chance else GREY for row in shown]
    tick = {"symbol": "line-ns", "size": 14, "line": {"width": 2, "color": FRONT}}
    chance = [row.chance for row in shown]
    return [
        go.Bar(
            x=[row.share for row in shown],
            y=names,
            orientation="h",
            marker={"color": colours},
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        ),
        go.Scatter(x=chance, y=names, mode="markers", marker=tick, hovertemplate="by chance: %{x:.1%}<extra></extra>"),
    ]


def parallel_div(columns: Sequence[Column]) -> str:
    """All candidates over the objectives and the parameters that mattered; ranges can be chosen on every axis."""
    import plotly.graph_objects as go

    dimensions = [_dimension(column) for column in columns]
    colours = [[0, GREY], [0.5, OTHER], [1, FRONT]]
    line = {"color": list(columns[0].groups), "colorscale": colours, "cmin": 0, "cmax": 2, "showscale": False}
    figure = go.Figure(go.Parcoords(dimensions=dimensions, line=line, labelangle=-20, labelfont={"size": 12}))
    layout = {k: v for k, v in base_layout().items() if k in ("template", "font")}
    return _div(figure.update_layout(layout | {"margin": {"l": 60, "r": 60, "t": 90, "b": 30}}), "parallel", 420)


def _dimension(column: Column) -> dict[str, Any]:
    low, high = column.range()
    below = min(column.drawn(), default=low)
    dimension = {"label": column.label, "values": column.drawn(), "range": [min(low, below), high]}
    whole = sorted({v for v in column.values if np.isfinite(v)})
    if column.names:
        dimension |= {"tickvals": list(range(len(column.names))), "ticktext": list(column.names)}
    elif len(whole) <= FEW:
        dimension |= {"tickvals": whole, "ticktext": [f"{v:g}" for v in whole]}
    return dimension


def _tight() -> dict[str, Any]:
    return {"margin": {"l": 70, "r": 10, "t": 20, "b": 60}}


def _div(figure: Any, name: str, height: int) -> str:
    figure.update_xaxes(title_font_size=14).update_yaxes(title_font_size=14)
    data = figure.to_json().replace("</", "<\\/")  # the text must not end the element that it is in
    return (
        f'<div class="plot" id="{name}" style="height:{height}px"></div>'
        f'<script type="application/json" id="{name}-data">{data}</script>'
    )
