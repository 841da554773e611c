"""Still pictures of a study beside its front: importance, hypervolume, all candidates. One decision: drawn like the
front (`plots`), on an Agg canvas of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nasdet.analysis.importance import Importance
from nasdet.analysis.plots.front_view import FRONT, GREY, GRID, INK, OTHER, QUIET, FrontView
from nasdet.analysis.plots.parallel_coordinates import Column

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BARS = 10
"""Parameters drawn for each objective."""


def importance_png(rows: Sequence[Importance], title: str, path: Path) -> None:
    """A panel for each objective: its most important parameters, and what chance alone gives as a tick."""
    objectives = list(dict.fromkeys(row.objective for row in rows))
    figure = _figure(4.2 * len(objectives) + 1.2, 4.2, f"{title}: importance")
    panels = figure.subplots(1, len(objectives), squeeze=False)[0]
    for axes, objective in zip(panels, objectives, strict=True):
        shown = [row for row in rows if row.objective == objective][:BARS][::-1]
        places = range(len(shown))
        colours = [OTHER if row.share > row.chance else GREY for row in shown]
        axes.barh(places, [row.share for row in shown], color=colours, height=0.66)
        axes.plot([row.chance for row in shown], places, "|", color=FRONT, markersize=11, label="reached by chance")
        axes.set_yticks(places, [row.parameter for row in shown], fontsize=8)
        axes.set_xlim(0, 1.15 * max((max(row.share, row.chance) for row in shown), default=1.0) or 1.0)
        axes.set_title(objective, fontsize=10, color=INK)
        axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    panels[0].legend(loc="lower right", fontsize=8, frameon=True, edgecolor=GRID)
    _finish(figure, panels, path)


def hypervolume_png(view: FrontView, path: Path) -> None:
    """The hypervolume over the finished trials."""
    figure = _figure(8, 3.6, f"{view.summary['study']}: hypervolume")
    axes = figure.subplots()
    axes.step([s.step for s in view.history], [s.hypervolume for s in view.history], where="post", color=FRONT)
    axes.set_xlabel("finished trials")
    axes.set_ylabel("hypervolume of the front")
    axes.set_ylim(bottom=0)
    _finish(figure, [axes], path)


def parallel_png(columns: Sequence[Column], view: FrontView, path: Path) -> None:
    """Every measured trial as a line over the objectives and the parameters that mattered."""
    figure = _figure(max(7.0, 1.5 * len(columns)), 4.2, f"{view.summary['study']}: all candidates")
    axes = figure.subplots()
    lines = np.array([column.heights() for column in columns]).T
    for place, colour, width in zip(lines, columns[0].colours(GREY, OTHER, FRONT), columns[0].widths(), strict=True):
        axes.plot(range(len(columns)), place, color=colour, linewidth=width, alpha=0.75)
    axes.set_xticks(range(len(columns)), [c.label for c in columns], rotation=20, ha="right", fontsize=8)
    for place, column in enumerate(columns):
        for height, text in column.ticks():
            axes.text(place + 0.03, height, text, fontsize=7, color=INK)
    axes.set_yticks([])
    axes.set_xlabel("red: Pareto front, blue: full budget, grey: below it", color=QUIET, fontsize=8)
    _finish(figure, [axes], path)


def _figure(width: float, height: float, title: str) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.012, ha="left", fontsize=12, fontweight="bold", color=INK)
    return figure


def _finish(figure: Figure, panels: Sequence[Axes] | Any, path: Path) -> None:
    for axes in panels:
        axes.grid(color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
