"""What all pictures of an analysis share: colours, the frame of a still picture and the layout of an interactive one.

Still pictures use matplotlib's figures on an Agg canvas and never pyplot, so that drawing from any thread changes no
global state (backend, rcParams, the list of open figures) and there is nothing to close.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FRONT, OTHER, GREY, INK, QUIET, GRID = "#d1495b", "#30638e", "#b8bcc2", "#222831", "#555b66", "#e6e8eb"
"""Colours: the front, full budget, low budget, text, less important text, grid lines."""
EDGE = "#c5cad1"
"""Colour of frames and axes of interactive figures."""
FONT = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", "color": INK, "size": 14}


def new_figure(width: float, height: float, title: str, *, dpi: int = 130) -> Figure:
    """An empty still picture, `width` by `height` inches, with a title at the top left."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold", color=INK)
    return figure


def frame(panels: Iterable[Axes]) -> None:
    """Give the panels a grid behind what is drawn, and no frame at the top and right."""
    for axes in panels:
        axes.grid(color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path) -> None:
    """Write a still picture, and its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def plotly_layout(**changes: Any) -> dict[str, Any]:
    """The layout of an interactive figure, with `changes`."""
    return {
        "template": "none",
        "font": FONT,
        "margin": {"l": 70, "r": 10, "t": 20, "b": 60},
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "bgcolor": "white", "bordercolor": EDGE, "font": {"size": 12, "color": INK}},
    } | changes


def plotly_axis(title: str = "", **changes: Any) -> dict[str, Any]:
    """An axis of an interactive figure, with `changes`."""
    lines = {"gridcolor": GRID, "zeroline": False, "linecolor": EDGE, "ticks": "outside", "automargin": True}
    text = {"title": {"text": title, "font": {"size": 14}}} if title else {}
    return lines | {"tickfont": {"size": 13}} | text | changes
