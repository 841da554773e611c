"""A study as one page, with its pictures and tables beside it.

One decision: the page is one file that needs no network; whatever it shows is also a PNG or CSV file in its folder, for
papers and for other tools.
"""

from __future__ import annotations

import json
from pathlib import Path

from nasdet.analysis.effort import effort, reasons, write_rows
from nasdet.analysis.front_history import write_csv
from nasdet.analysis.importance import write_importance
from nasdet.analysis.plots.front import pareto_png
from nasdet.analysis.plots.stills import hypervolume_png, importance_png, parallel_png
from nasdet.analysis.report.content import Report
from nasdet.analysis.report.page import page
from nasdet.pareto import FrontStep

PAGE = "report.html"


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the page and all its parts; returns the files, the page first."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).write_text(page(report), encoding="utf-8")
    _tables(report, folder)
    pareto_png(report.view, folder / "pareto.png", report.curves)
    hypervolume_png(report.view, folder / "hypervolume.png")
    parallel_png(report.columns, report.view, folder / "parallel.png")
    if report.importance:
        importance_png(report.importance, report.view.summary["study"], folder / "importance.png")
    return [folder / PAGE, *sorted(p for p in folder.iterdir() if p.suffix in (".png", ".csv", ".json"))]


def _tables(report: Report, folder: Path) -> None:
    view = report.view
    (folder / "summary.json").write_text(json.dumps(view.summary, indent=1), encoding="utf-8")
    write_csv(folder / "trials.csv", report.records, view.axes)
    write_csv(folder / "front.csv", view.front, view.axes)
    write_rows(folder / "effort.csv", effort(report.records))
    write_rows(folder / "reasons.csv", reasons(report.records))
    write_rows(folder / "hypervolume.csv", view.history or [FrontStep(0, 0.0, 0, 0, 0.0)])
    if report.curves:
        write_rows(folder / "curves.csv", [point for curve in report.curves for point in curve.points()])
    if report.importance:
        write_importance(folder / "importance.csv", report.importance)
