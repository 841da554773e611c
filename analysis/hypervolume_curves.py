"""Hypervolume over what was spent, of a study and of the random search it is compared with. One decision: results are
taken in the order in which they were told, a trial's seconds spread evenly over its epochs, so that curves need no
clock and are the same after a resume."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from nasdet.analysis.front_history import hypervolume_history
from nasdet.analysis.plots.front_view import FRONT, GRID, INK, OTHER
from nasdet.pareto import ObjectiveLike
from nasdet.search.records.baseline import find_baseline
from nasdet.trial import TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from nasdet.search import StudyStore

AXES = (("epochs", "epochs trained, all trials together"), ("minutes", "minutes of training and waiting between jobs"))
COLOURS = (FRONT, OTHER)


class Point(NamedTuple):
    """One point of a curve, as a row of a table."""

    search: str
    epochs: float
    minutes: float
    hypervolume: float


@dataclasses.dataclass(frozen=True)
class Curve:
    """The hypervolume after each candidate that was trained in full, from nothing spent to all spent."""

    name: str
    epochs: tuple[float, ...]
    minutes: tuple[float, ...]
    """Of one worker group: where several train side by side, the sum is divided by their number."""
    hypervolume: tuple[float, ...]

    def points(self) -> list[Point]:
        """The curve as rows."""
        places = zip(self.epochs, self.minutes, self.hypervolume, strict=True)
        return [Point(self.name, *place) for place in places]


def study_curves(store: StudyStore) -> tuple[Curve, ...]:
    """The curves of a study and of its baseline; none without a baseline."""
    baseline = find_baseline(store.dir)
    if baseline is None or not store.config.get("reference_point"):
        return ()
    pairs = (("this search", store), ("random search", baseline))
    return tuple(
        hypervolume_curve(
            name,
            one.records(),
            store.objectives,
            store.config["reference_point"],
            one.config.get("plan", {}).get("concurrent", 1),
        )
        for name, one in pairs
    )


def hypervolume_curve(
    name: str,
    records: Sequence[TrialRecord],
    objectives: Sequence[ObjectiveLike],
    reference: Sequence[float],
    concurrent: int = 1,
) -> Curve:
    """The curve of a study.

    Args:
        name: what to call it.
        records: of the study.
        objectives: of the study.
        reference: the reference point, in the objectives' own directions.
        concurrent: trials trained at the same time.
    """
    told = sorted((rung.told, i) for i, record in enumerate(records) for rung in record.rungs)
    reached = [0] * len(records)
    epochs, seconds, places, done = 0.0, 0.0, [(0.0, 0.0)], []
    for _, i in told:
        record = records[i]
        step = record.rungs[reached[i]].epochs - (record.rungs[reached[i] - 1].epochs if reached[i] else 0)
        reached[i] += 1
        epochs += step
        seconds += (record.train_seconds + record.overhead_seconds) * step / record.epochs / concurrent
        if record.state == "complete" and reached[i] == len(record.rungs):
            done.append(record)
            places.append((epochs, seconds / 60))
    volumes = [0.0, *(step.hypervolume for step in hypervolume_history(done, objectives, reference))]
    places, volumes = [*places, (epochs, seconds / 60)], [*volumes, volumes[-1]]
    return Curve(name, tuple(e for e, _ in places), tuple(m for _, m in places), tuple(volumes))


def compared(curves: Sequence[Curve]) -> str:
    """The curves of a study and of its baseline in a sentence."""
    ours, other = curves
    spent, end, best = ours.epochs[-1], other.hypervolume[-1], ours.hypervolume[-1]
    text = f"Random search reaches {end:.4g} in {other.epochs[-1]:g} epochs, this search {best:.4g} in {spent:g}"
    reached = next((e for e, v in zip(ours.epochs, ours.hypervolume, strict=True) if v >= end), None)
    return f"{text}; it was past random search's end after {reached:g}." if reached is not None else f"{text}."


def draw_curves(axes: Sequence[Axes], curves: Sequence[Curve]) -> None:
    """Draw them over the epochs and over the time, on two axes."""
    for one, (key, label) in zip(axes, AXES, strict=True):
        for curve, colour in zip(curves, COLOURS, strict=False):
            one.step(
                getattr(curve, key), curve.hypervolume, where="post", color=colour, linewidth=1.6, label=curve.name
            )
        one.set_xlabel(label)
        one.set_ylabel("hypervolume of the front")
        one.set_ylim(bottom=0)
        one.legend(loc="lower right", frameon=False, fontsize=8.5)


def curves_figure(curves: Sequence[Curve]) -> Any:
    """The same as a plotly figure."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=2)
    for column, (key, label) in enumerate(AXES, start=1):
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
