"""The hypervolume of the front over the finished trials, and over what was spent beside random search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasdet.analysis.front_history import Curve
from nasdet.analysis.plots.front_view import FrontView
from nasdet.analysis.plots.style import FRONT, GRID, INK, OTHER, frame, new_figure, plotly_axis, plotly_layout, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPENT = (("epochs", "epochs trained, all trials together"), ("minutes", "minutes of training and waiting between jobs"))
"""What hypervolumes are drawn over: field of `Curve`, title of the axis."""
COLOURS = (FRONT, OTHER)
"""Of this search, and of random search."""


def hypervolume_png(view: FrontView, path: Path) -> None:
    """Draw the hypervolume over the finished trials."""
    figure = new_figure(8, 3.6, f"{view.summary.study}: hypervolume")
    axes = figure.subplots()
    draw_history(axes, view)
    frame([axes])
    save(figure, path)


def draw_history(axes: Axes, view: FrontView) -> None:
    """Draw the hypervolume over the finished trials on a panel of a still picture."""
    from matplotlib.ticker import MaxNLocator

    steps = [s.step for s in view.history]
    axes.step(steps, [s.hypervolume for s in view.history], where="post", color=FRONT, linewidth=1.6)
    axes.set_xlabel("finished trials")
    axes.set_ylabel("hypervolume of the front")
    axes.set_ylim(0, 1.08 * max((s.hypervolume for s in view.history), default=1.0) or 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def history_trace(view: FrontView, **changes: Any) -> Any:
    """The hypervolume over the finished trials as a trace of an interactive figure."""
    import plotly.graph_objects as go

    cards = [
        f"<b>after {s.step} trials</b><br>hypervolume {s.hypervolume:.4g}<br>{s.front_size} on the front<br>"
        f"{s.epochs} epochs, {s.seconds / 60:.1f} min of training"
        for s in view.history
    ]
    return go.Scatter(
        x=[s.step for s in view.history],
        y=[s.hypervolume for s in view.history],
        line={"color": FRONT, "width": 2, "shape": "hv"},
        text=cards,
        hovertemplate="%{text}<extra></extra>",
        **{"mode": "lines", "showlegend": False, **changes},
    )


def history_figure(view: FrontView) -> Any:
    """The hypervolume over the finished trials as an interactive figure."""
    import plotly.graph_objects as go

    axes = {
        "xaxis": plotly_axis("finished trials", tickformat="d"),
        "yaxis": plotly_axis("hypervolume", rangemode="tozero"),
    }
    return go.Figure(history_trace(view), plotly_layout(**axes))


def draw_curves(panels: Sequence[Axes], curves: Sequence[Curve]) -> None:
    """Draw the curves of the search and of random search over the epochs and over the time, on two panels."""
    for axes, (key, label) in zip(panels, SPENT, strict=True):
        for curve, colour in zip(curves, COLOURS, strict=False):
            places = getattr(curve, key), curve.hypervolume
            axes.step(*places, where="post", color=colour, linewidth=1.6, label=curve.name)
        axes.set_xlabel(label)
        axes.set_ylabel("hypervolume of the front")
        axes.set_ylim(bottom=0)
        axes.legend(loc="lower right", frameon=False, fontsize=8.5)


def curves_figure(curves: Sequence[Curve]) -> Any:
    """The same as `draw_curves`, as an interactive figure."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=2)
    for column, (key, label) in enumerate(SPENT, start=1):
        for curve, colour in zip(curves, COLOURS, strict=False):
            line = {"color": colour, "width": 2, "shape": "hv"}
            places = {"x": list(getattr(curve, key)), "y": list(curve.hypervolume)}
            trace = go.Scatter(**places, mode="lines", name=curve.name, line=line, showlegend=column == 1)
            figure.add_trace(trace, row=1, col=column)
        figure.update_xaxes(title_text=label, gridcolor=GRID, row=1, col=column)
        figure.update_yaxes(title_text="hypervolume", rangemode="tozero", gridcolor=GRID, row=1, col=column)
    title = {"text": "<b>Against random search with the same budget</b>", "x": 0.02}
    figure.update_layout(template="none", title=title, font={"color": INK}, legend={"orientation": "h", "y": 1.12})
    return figure
