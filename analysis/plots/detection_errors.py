"""Types of error as a picture: what each type costs, at which scores false boxes lie, and whether scores agree with
the share of boxes that are right. A type has the same colour here and on the sheets of the worst images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasdet.analysis.plots.style import GRID, INK, QUIET, frame, new_figure, save
from nasdet.analysis.tide import CORRECT, FALSE, MISSED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    CORRECT: "#2e9d5b",
    "classification": "#8e4fbf",
    "localisation": "#e08e0b",
    "both": "#b5651d",
    "duplicate": "#2a9fd6",
    "background": "#d1495b",
    MISSED: "#f2c200",
}


def errors_png(report: dict[str, Any], title: str, path: Path) -> None:
    """Draw the report of `error_report`."""
    figure = new_figure(14, 4.8, title)
    costs, false, scores = figure.subplots(1, 3, width_ratios=[1.15, 1.15, 0.9])
    _costs(costs, report)
    _false(false, report)
    _calibration(scores, report)
    frame([costs, false, scores])
    save(figure, path)


def _costs(axes: Axes, report: dict[str, Any]) -> None:
    rows = report["types"][::-1]
    points = [100 * row["ap50_cost"] for row in rows]
    axes.barh([row["type"] for row in rows], points, color=[COLOURS[row["type"]] for row in rows])
    axes.bar_label(axes.containers[0], [f"{p:.1f}" for p in points], padding=4, fontsize=9, color=INK)  # type: ignore[arg-type]
    axes.set_xlim(0, 1.15 * max(*points, 1e-3))
    axes.set_xlabel("points of AP50 to be gained if all of the type were right")
    axes.set_title("Cost of each type of error", loc="left", fontsize=10, color=QUIET)


def _false(axes: Axes, report: dict[str, Any]) -> None:
    rows = report["confidence"]
    scores = [row["score"] for row in rows]
    parts = [[row[kind] / report["images"] for row in rows] for kind in FALSE]
    axes.stackplot(scores, parts, labels=FALSE, colors=[COLOURS[kind] for kind in FALSE], step="post", alpha=0.85)
    work = report["working_score"]
    axes.axvline(work, color=INK, linewidth=1, linestyle="--")
    shown = [sum(part[i] for part in parts) for i, score in enumerate(scores) if score >= min(0.6 * work, scores[-1])]
    axes.set_ylim(0, 1.1 * max(*shown, 0.1))  # at low scores there are far more than fit
    axes.text(
        work, 0.98, f" best F1: {work:.2f}", transform=axes.get_xaxis_transform(), va="top", fontsize=9, color=INK
    )
    axes.set_xlim(scores[0], scores[-1])
    axes.set_xlabel("least score that is kept")
    axes.set_ylabel("false boxes per image")
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.93), fontsize=8.5, frameon=True, edgecolor=GRID)
    axes.set_title("False positives by confidence", loc="left", fontsize=10, color=QUIET)


def _calibration(axes: Axes, report: dict[str, Any]) -> None:
    bins = [b for b in report["calibration"]["bins"] if b["boxes"]]
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=":")
    axes.plot(
        [b["score"] for b in bins], [b["correct"] for b in bins], color=COLOURS[CORRECT], marker="o", markersize=5
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("score")
    axes.set_ylabel("share of boxes that are right")
    error = report["calibration"]["error"]
    axes.set_title(f"Calibration (mean error {error:.2f})", loc="left", fontsize=10, color=QUIET)
