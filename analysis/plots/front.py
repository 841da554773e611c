"""The front as a still picture: all trials and the front in two objectives, with the hypervolume beside them."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nasdet.analysis.front_history import Curve, hypervolume_history, study_curves
from nasdet.analysis.plots.front_view import Axis, FrontView, interval_reach, staircase, value
from nasdet.analysis.plots.hypervolume import draw_curves, draw_history
from nasdet.analysis.plots.interactive_front import pareto_html
from nasdet.analysis.plots.style import FRONT, GREY, GRID, INK, OTHER, QUIET, frame, new_figure, save
from nasdet.errors import InputError
from nasdet.pareto import FrontStep
from nasdet.search import StudyStore, summarise
from nasdet.study_summary import Summary
from nasdet.trial import TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

OFFSETS = [(10, -14), (10, 10), (-10, 12), (-10, -16), (14, -30), (14, 26), (-14, 28), (-14, -32), (18, -48), (18, 44)]


def draw_front(
    summary: Summary,
    records: Sequence[TrialRecord],
    history: Sequence[FrontStep],
    folder: Path,
    curves: Sequence[Curve] = (),
) -> None:
    """Leave `pareto.png` and `pareto.html` in `folder`."""
    view = FrontView.of(summary, records, history)
    pareto_png(view, folder / "pareto.png", curves)
    pareto_html(view, folder / "pareto.html", curves)


def plot_front(store: StudyStore, path: Path | None = None) -> Figure:
    """Draw the front of a study as `front_figure` does, and save it if a path is given: a page that answers the pointer
    where it ends in .html, else a picture of the kind that its suffix says.

    Raises:
        InputError: no trial was measured yet, or the path cannot be written.
    """
    records, summary = store.records(), summarise(store)
    if not summary.reference_point:
        raise InputError("no trial was measured yet, so there is nothing to draw", where=store.name)
    history = hypervolume_history(records, store.objectives, summary.reference_point)
    view, curves = FrontView.of(summary, records, history), study_curves(store)
    figure = front_figure(view, curves)
    # A notebook shows what has this method; of matplotlib's figures it knows only those of pyplot.
    setattr(figure, "_repr_png_", functools.partial(_png, figure))  # noqa: B010
    try:
        if path is not None:
            pareto_html(view, path, curves) if path.suffix.lower() == ".html" else save(figure, path)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror or error})", where=str(path)) from error
    except ValueError as error:  # matplotlib knows no such kind of picture
        raise InputError(str(error), where=str(path), remedy="name a file that ends in .png or .html") from None
    return figure


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def pareto_png(view: FrontView, path: Path, curves: Sequence[Curve] = ()) -> None:
    """Write `front_figure` as a picture."""
    save(front_figure(view, curves), path)


def front_figure(view: FrontView, curves: Sequence[Curve] = ()) -> Figure:
    """Draw all trials and the front in the first two objectives, with the intervals of their values, and the
    hypervolume over the finished trials; below them `curves` over the epochs and over the time, if there are any."""
    figure = new_figure(11, 9.6 if curves else 5.6, view.title, dpi=150)
    heights = [1.4, 1.0] if curves else [1.0]
    above, *below = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    main, side = above.subplots(1, 2, width_ratios=[2.1, 1])
    spent = [axes for part in below for axes in part.subplots(1, 2)]
    x, y = view.pairs()[0]
    _scatter(main, view, x, y)
    draw_history(side, view)
    if curves:
        draw_curves(spent, curves)
    frame([main, side, *spent])
    figure.supxlabel(view.subtitle, fontsize=8.5, color=QUIET)
    _mark(figure, main, view, x, y)
    return figure


def _scatter(axes: Axes, view: FrontView, x: Axis, y: Axis) -> None:
    groups = (
        (view.low_budget, GREY, 22, "low budget, not on the front"),
        (view.dominated, OTHER, 30, "full budget"),
        (view.front, FRONT, 52, "Pareto front"),
    )
    axes.plot(*staircase(view.front, x, y), color=FRONT, linewidth=1.4, alpha=0.8, zorder=2)
    for order, (records, colour, size, label) in enumerate(groups):
        if records:
            places = [value(r, x) for r in records], [value(r, y) for r in records]
            across, up = ([interval_reach(r, a) for r in records] for a in (x, y))
            if any(map(any, across + up)):
                style: dict[str, Any] = {"ecolor": colour, "elinewidth": 0.9, "alpha": 0.6, "zorder": 2.5}
                axes.errorbar(*places, xerr=np.transpose(across), yerr=np.transpose(up), fmt="none", **style)
            axes.scatter(
                *places,
                label=f"{label} ({len(records)})",
                zorder=3 + order,
                s=size,
                color=colour,
                edgecolors="white",
                linewidths=0.7,
            )
    axes.set_xlabel("trial" if x.name == "number" else x.label)
    axes.set_ylabel(y.label)
    axes.margins(0.09)
    if any(records for records, *_ in groups):
        axes.legend(loc="best", frameon=True, framealpha=0.9, edgecolor=GRID, fontsize=8.5)
    else:
        axes.text(0.5, 0.5, "no trial has been measured yet", transform=axes.transAxes, ha="center", color=QUIET)


def _mark(figure: Figure, axes: Axes, view: FrontView, x: Axis, y: Axis) -> None:
    """Name the members that stand out, each at the first place around its point where nothing else is drawn."""
    from matplotlib.path import Path as Line

    figure.draw_without_rendering()
    shown, names = [*view.low_budget, *view.dominated, *view.front], view.marked(x, y)
    dots = axes.transData.transform([(value(r, x), value(r, y)) for r in shown] or np.empty((0, 2)))
    legend = axes.get_legend()
    taken = [legend.get_window_extent()] if legend else []
    line = Line(axes.transData.transform(np.column_stack(staircase(view.front, x, y)))) if view.front else None
    frame = axes.get_window_extent()

    def is_free(box: Bbox) -> bool:
        inside = frame.x0 < box.x0 and box.x1 < frame.x1 and frame.y0 < box.y0 and box.y1 < frame.y1
        crossed = line is not None and line.intersects_bbox(box, filled=False)
        return inside and not crossed and not box.count_contains(dots) and not box.count_overlaps(taken)

    for record in view.front:
        if record.trial in names:
            taken.append(_place(axes, names[record.trial], (value(record, x), value(record, y)), is_free))


def _place(axes: Axes, text: str, point: tuple[float, float], is_free: Callable[[Bbox], bool]) -> Bbox:
    """Write a name beside its point and return the box of the text; the last place is taken if none is free."""
    from matplotlib.text import Text

    note: Text | None = None
    for dx, dy in OFFSETS:
        if note is not None:
            note.remove()
        note = axes.annotate(
            text,
            point,
            xytext=(dx, dy),
            textcoords="offset points",
            ha="left" if dx > 0 else "right",
            fontsize=8.5,
            color=INK,
            zorder=8,
            arrowprops={"arrowstyle": "-", "color": "#8a909a", "linewidth": 0.7},
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
        )
        note.set_in_layout(False)
        note.get_window_extent()  # brings the text to its place
        box = Text.get_window_extent(note).padded(7)  # without the arrow, with room for a dot
        if is_free(box):
            break
    return box
