"""The front as one interactive page. Plotly's script is inside the file, so the page opens without a network, from a
disk or from MLflow's artifact view."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from markupsafe import Markup

from nasdet.analysis.front_history import Curve
from nasdet.analysis.plots.front_view import (
    Axis,
    FrontView,
    architecture,
    interval_reach,
    measured,
    staircase,
    training,
    value,
)
from nasdet.analysis.plots.hypervolume import curves_figure, history_trace
from nasdet.analysis.plots.style import EDGE, FRONT, GREY, OTHER, QUIET, plotly_axis, plotly_layout
from nasdet.analysis.templates import render
from nasdet.trial import TrialRecord

FRONT_NAME = "Pareto front"
CONFIG = {"displaylogo": False, "responsive": True, "toImageButtonOptions": {"scale": 2}}


def pareto_html(view: FrontView, path: Path, curves: Sequence[Curve] = ()) -> None:
    """Write one self-contained page: all trials with a card each, the front, a choice of axes, the hypervolume; below
    it `curves` over the epochs and over the time, if there are any."""
    options = {"full_html": False, "config": CONFIG}
    body = pareto_figure(view).to_html(include_plotlyjs=True, default_height="100vh", **options)
    if curves:
        body += curves_figure(curves).to_html(include_plotlyjs=False, **options)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render("front.html.j2", title=view.title, body=Markup(body)), encoding="utf-8")


def pareto_figure(view: FrontView) -> Any:
    """The plotly figure behind `pareto_html`."""
    figure = trials_figure(view)
    figure.add_trace(history_trace(view, mode="lines+markers", marker={"size": 5}, xaxis="x2", yaxis="y2"))
    # The front above, the hypervolume below, a title over both.
    subtitle = {"text": escape(view.subtitle), "font": {"size": 13, "color": QUIET}}
    title = {"text": f"<b>{escape(view.title)}</b>", "subtitle": subtitle, "x": 0.02, "xanchor": "left", "y": 0.97}
    return figure.update_layout(
        title=title,
        margin={"l": 80, "r": 30, "t": 120, "b": 70},
        yaxis={"domain": [0.38, 1.0]},
        xaxis2=plotly_axis("finished trials", anchor="y2", tickformat="d"),
        yaxis2=plotly_axis("hypervolume", domain=[0.0, 0.22], rangemode="tozero"),
    )


def trials_figure(view: FrontView) -> Any:
    """All trials and the front: traces 0 to 2 are low budget, full budget and front, 3 is the front's line."""
    import plotly.graph_objects as go

    pairs = view.pairs()
    x, y = pairs[0]
    figure = go.Figure()
    for records, colour, size, name in _groups(view):
        own = {
            "name": f"{name} ({len(records)})",
            "marker": {"color": colour, "size": size, "line": {"color": "white", "width": 1}},
        }
        own |= _hollow(view) if name == FRONT_NAME else {}
        figure.add_trace(
            go.Scatter(
                x=[value(r, x) for r in records],
                y=[value(r, y) for r in records],
                mode="markers",
                error_x=_bars(records, x) | {"color": colour, "thickness": 1},
                error_y=_bars(records, y) | {"color": colour, "thickness": 1},
                text=[_card(r, name) for r in records],
                hovertemplate="%{text}<extra></extra>",
                **own,
            )
        )
    line_x, line_y = staircase(view.front, x, y)
    style = {"color": FRONT, "width": 2}
    figure.add_trace(go.Scatter(x=line_x, y=line_y, mode="lines", line=style, hoverinfo="skip", showlegend=False))
    legend = {"orientation": "h", "x": 0, "y": 1.01, "xanchor": "left", "yanchor": "bottom"}
    figure.update_layout(
        plotly_layout(xaxis=plotly_axis(x.label, anchor="y"), yaxis=plotly_axis(y.label), legend=legend)
    )
    if len(pairs) > 1:
        figure.update_layout(updatemenus=[_menu(view, pairs)])
    return figure


def _bars(records: Sequence[TrialRecord], axis: Axis) -> dict[str, Any]:
    """Error bars: the intervals of the records' values on an axis."""
    reach = [interval_reach(r, axis) for r in records]
    below, above = [low for low, _ in reach], [high for _, high in reach]
    return {"array": above, "arrayminus": below, "symmetric": False, "visible": any(below + above)}


def _groups(view: FrontView) -> list[tuple[Sequence[TrialRecord], str, int, str]]:
    return [
        (view.low_budget, GREY, 9, "low budget, not on the front"),
        (view.dominated, OTHER, 10, "full budget"),
        (view.front, FRONT, 13, FRONT_NAME),
    ]


def _hollow(view: FrontView) -> dict[str, Any]:
    """Hollow points for members of the front that cannot be told apart."""
    unclear = view.unclear()
    if not unclear:
        return {}
    symbols = ["circle-open" if r.trial in unclear else "circle" for r in view.front]
    marker = {"color": FRONT, "size": 13, "symbol": symbols, "line": {"width": 2}}
    return {"marker": marker, "name": f"{FRONT_NAME} ({len(view.front)}); hollow: not told apart"}


def _menu(view: FrontView, pairs: Sequence[tuple[Axis, Axis]]) -> dict[str, Any]:
    """A list of the pairs of objectives; traces 0 to 2 are the trials, 3 the front's line."""
    return {
        "buttons": [_button(view, x, y) for x, y in pairs],
        "direction": "down",
        "x": 1.0,
        "xanchor": "right",
        "y": 1.01,
        "yanchor": "bottom",
        "bgcolor": "white",
        "bordercolor": EDGE,
        "pad": {"b": 4},
    }


def _button(view: FrontView, x: Axis, y: Axis) -> dict[str, Any]:
    line_x, line_y = staircase(view.front, x, y)
    groups = [records for records, *_ in _groups(view)]
    places: dict[str, list[Any]] = {
        "x": [*([value(r, x) for r in records] for records in groups), line_x],
        "y": [*([value(r, y) for r in records] for records in groups), line_y],
    }
    for key, axis in (("error_x", x), ("error_y", y)):
        bars = [_bars(records, axis) for records in groups]
        for name in ("array", "arrayminus", "visible"):
            places[f"{key}.{name}"] = [*(one[name] for one in bars), None]
    again = {"xaxis.autorange": True, "yaxis.autorange": True}
    titles = {"xaxis.title.text": x.label, "yaxis.title.text": y.label}
    return {"label": f"{y.name} over {x.name}", "method": "update", "args": [places, titles | again, [0, 1, 2, 3]]}


def _card(record: TrialRecord, group: str) -> str:
    """What the pointer shows: the trial, its values, its architecture and its recipe."""
    lines = [f"<b>{escape(record.trial)}</b>  {group}, {record.epochs} epochs", escape(", ".join(measured(record)))]
    parts = [lines, [escape(a) for a in architecture(record)], [escape(t) for t in training(record)]]
    return "<br>".join("<br>".join(part) for part in parts if part)
