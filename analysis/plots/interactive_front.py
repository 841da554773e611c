"""The front as one interactive page. One decision: plotly's script is inside the file, so the page opens without a
network, from a disk or from MLflow's artifact view."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from nasdet.analysis.hypervolume_curves import Curve, curves_figure
from nasdet.analysis.plots.front_view import (
    FRONT,
    GREY,
    GRID,
    INK,
    OTHER,
    QUIET,
    Axis,
    FrontView,
    architecture,
    doubt,
    measured,
    staircase,
    training,
    value,
)
from nasdet.trial import TrialRecord

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title><style>html, body {{ margin: 0; height: 100% }}</style></head>
<body>{body}</body>
</html>
"""
FRONT_NAME = "Pareto front"
CONFIG = {"displaylogo": False, "responsive": True, "toImageButtonOptions": {"scale": 2}}
FONT = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", "color": INK, "size": 14}


def pareto_html(view: FrontView, path: Path, curves: Sequence[Curve] = ()) -> None:
    """Write one self-contained page: all trials with a card each, the front, a choice of axes, the hypervolume; below
    it `curves` over the epochs and over the time, if there are any."""
    figure = pareto_figure(view)
    path.parent.mkdir(parents=True, exist_ok=True)
    body = figure.to_html(include_plotlyjs=True, full_html=False, config=CONFIG, default_height="100vh")
    if curves:
        body += curves_figure(curves).to_html(include_plotlyjs=False, full_html=False, config=CONFIG)
    path.write_text(PAGE.format(title=escape(view.title), body=body), encoding="utf-8")


def pareto_figure(view: FrontView) -> Any:
    """The plotly figure behind `pareto_html`."""
    figure = front_figure(view)
    figure.add_trace(_history(view))
    return figure.update_layout(_whole_page(view))


def front_figure(view: FrontView) -> Any:
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
    figure.update_layout(_layout(x, y))
    if len(pairs) > 1:
        figure.update_layout(updatemenus=[_menu(view, pairs)])
    return figure


def _bars(records: Sequence[TrialRecord], axis: Axis) -> dict[str, Any]:
    """Error bars: the intervals of the records' values on an axis."""
    reach = [doubt(r, axis) for r in records]
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


def _history(view: FrontView) -> Any:
    import plotly.graph_objects as go

    cards = [
        f"<b>after {s.step} trials</b><br>hypervolume {s.hypervolume:.4g}<br>{s.front_size} on the front<br>"
        f"{s.epochs} epochs, {s.seconds / 60:.1f} min of training"
        for s in view.history
    ]
    return go.Scatter(
        x=[s.step for s in view.history],
        y=[s.hypervolume for s in view.history],
        mode="lines+markers",
        line={"color": FRONT, "width": 2, "shape": "hv"},
        marker={"size": 5},
        text=cards,
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
        xaxis="x2",
        yaxis="y2",
    )


def _whole_page(view: FrontView) -> dict[str, Any]:
    """The front above, the hypervolume below, a title over both."""
    subtitle = {"text": escape(view.subtitle), "font": {"size": 13, "color": QUIET}}
    title = {"text": f"<b>{escape(view.title)}</b>", "subtitle": subtitle, "x": 0.02, "xanchor": "left", "y": 0.97}
    volume = {"title": {"text": "hypervolume", "font": {"size": 14}}, "domain": [0.0, 0.22], "rangemode": "tozero"}
    return {
        "title": title,
        "margin": {"t": 120},
        "yaxis": {"domain": [0.38, 1.0]},
        "xaxis2": grid()
        | {"title": {"text": "finished trials", "font": {"size": 14}}, "anchor": "y2", "tickformat": "d"},
        "yaxis2": grid() | volume,
    }


def grid() -> dict[str, Any]:
    """What all axes have."""
    lines = {"gridcolor": GRID, "zeroline": False, "linecolor": "#c5cad1", "ticks": "outside", "automargin": True}
    return lines | {"tickfont": {"size": 13}}


def base_layout() -> dict[str, Any]:
    """What all figures have."""
    return {
        "template": "none",
        "font": FONT,
        "margin": {"l": 80, "r": 30, "t": 60, "b": 70},
        "hovermode": "closest",
        "hoverlabel": {
            "align": "left",
            "bgcolor": "white",
            "bordercolor": "#c5cad1",
            "font": {"size": 12, "color": INK},
        },
        "legend": {"orientation": "h", "x": 0, "y": 1.01, "xanchor": "left", "yanchor": "bottom"},
    }


def _layout(x: Axis, y: Axis) -> dict[str, Any]:
    return base_layout() | {
        "xaxis": grid() | {"title": {"text": x.label, "font": {"size": 14}}, "anchor": "y"},
        "yaxis": grid() | {"title": {"text": y.label, "font": {"size": 14}}},
    }


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
        "bordercolor": "#c5cad1",
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
