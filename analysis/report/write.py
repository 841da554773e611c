"""A study as one page, with its pictures and tables beside it: the page is one file that needs no network, and what it
shows is also a PNG or CSV file in its folder, for papers and for other tools."""

from __future__ import annotations

import json
from pathlib import Path

from nasdet.analysis.dataframes import write_csv, write_trials
from nasdet.analysis.effort import Effort, Reason, effort, reasons
from nasdet.analysis.plots.front import pareto_png
from nasdet.analysis.plots.hypervolume import hypervolume_png
from nasdet.analysis.plots.importance import importance_png
from nasdet.analysis.plots.parallel_coordinates import parallel_png
from nasdet.analysis.report.content import Report
from nasdet.analysis.report.page import page
from nasdet.pareto import FrontStep

PAGE = "report.html"


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the page and all its parts; returns the files, the page first."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).write_text(page(report), encoding="utf-8")
    _write_tables(report, folder)
    pareto_png(report.view, folder / "pareto.png", report.curves)
    hypervolume_png(report.view, folder / "hypervolume.png")
    parallel_png(report.columns, report.view, folder / "parallel.png")
    if report.importance:
        importance_png(report.importance, report.view.summary.study, folder / "importance.png")
    return [folder / PAGE, *sorted(p for p in folder.iterdir() if p.suffix in (".png", ".csv", ".json"))]


def _write_tables(report: Report, folder: Path) -> None:
    view = report.view
    (folder / "summary.json").write_text(json.dumps(view.summary.to_json(), indent=1), encoding="utf-8")
    write_trials(report.records, view.axes, folder / "trials.csv")
    write_trials(view.front, view.axes, folder / "front.csv")
    write_csv(effort(report.records), folder / "effort.csv", Effort._fields)
    write_csv(reasons(report.records), folder / "reasons.csv", Reason._fields)
    write_csv(view.history or [FrontStep(0, 0.0, 0, 0, 0.0)], folder / "hypervolume.csv")
    if report.curves:
        write_csv([point for curve in report.curves for point in curve.points()], folder / "curves.csv")
    if report.importance:
        write_csv(report.importance, folder / "importance.csv")
