"""A study as one page, with its pictures and tables beside it.

One decision: the page is one file that needs no network; whatever it shows is also a PNG or CSV file in its folder, for
papers and for other tools.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasdet.analysis.curves import Curve, study_curves
from nasdet.analysis.effort import effort, reasons, write_rows
from nasdet.analysis.fronts import hypervolume_history, write_csv
from nasdet.analysis.importance import Importance, importance, method, too_few, write_importance
from nasdet.analysis.parallel import Column, columns
from nasdet.analysis.plots import pareto_png
from nasdet.analysis.stills import hypervolume_png, importance_png, parallel_png
from nasdet.analysis.view import FrontView
from nasdet.search import StudyStore
from nasdet.space import SearchSpace
from nasdet.space.pareto import FrontStep
from nasdet.space.trial import TrialRecord

PAGE = "report.html"


@dataclasses.dataclass(frozen=True)
class Pictures:
    """The same validation images for every detector shown, as JPEG."""

    annotated: Sequence[bytes] = ()
    """With the annotated boxes."""
    found: Mapping[str, Sequence[bytes]] = dataclasses.field(default_factory=dict)
    """By trial, with the boxes that it finds."""
    note: str = ""
    """Why there are none, or not for all; may be empty."""


@dataclasses.dataclass(frozen=True)
class Report:
    """All that the page tells."""

    folder: Path
    """The study's."""
    config: Mapping[str, Any]
    space: SearchSpace
    records: Sequence[TrialRecord]
    view: FrontView
    curves: Sequence[Curve]
    """Hypervolume over what was spent, of the study and of its baseline; empty without a baseline."""
    importance: Sequence[Importance]
    method: str
    """How the importance is to be read, or why there is none."""
    columns: Sequence[Column]
    pictures: Pictures

    @classmethod
    def of(cls, store: StudyStore, pictures: Pictures) -> Report:
        """All that is known of a study that has a reference point."""
        summary, records, space = store.summary(), store.records(), store.space
        history = hypervolume_history(records, store.objectives, summary["reference_point"])
        view, lacking = FrontView.of(summary, records, history), too_few(records)
        rows = [] if lacking else importance(records, space)
        shown = columns(view, space, rows)
        how = lacking or method(records)
        curves = study_curves(store)
        return cls(store.dir, store.config, space, records, view, curves, rows, how, shown, pictures)


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the page and all its parts; returns the files, the page first."""
    from nasdet.analysis.report_page import page

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
