"""The files that a report leaves."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

from nasdet.analysis.report.content import Pictures, Report
from nasdet.analysis.report.write import PAGE, write_report
from nasdet.search import StudyStore, open_study
from nasdet.search.records.baseline import ready_baseline
from tests.analysis.made_study import made_study


def test_page_pictures_and_tables(study: StudyStore, tmp_path: Path) -> None:
    store = open_study(shutil.copytree(study.dir, tmp_path / "made"))
    baseline = ready_baseline(store, "")
    for record in store.records()[:3]:
        baseline.put(record)
    files = write_report(Report.of(store, Pictures()), tmp_path / "out")
    names = {f.name for f in files}
    drawn = {f"{n}.png" for n in ("pareto", "hypervolume", "importance", "parallel")}
    tables = {f"{n}.csv" for n in ("trials", "front", "effort", "reasons", "hypervolume", "importance", "curves")}
    assert files[0].name == PAGE and names == {PAGE, "summary.json"} | drawn | tables
    assert all(f.stat().st_size > 5000 for f in files if f.suffix in (".png", ".html"))
    with (tmp_path / "out" / "front.csv").open(newline="") as file:
        assert {row["pareto"] for row in csv.DictReader(file)} == {"true"}
    with (tmp_path / "out" / "curves.csv").open(newline="") as file:
        assert {row["search"] for row in csv.DictReader(file)} == {"this search", "random search"}


def test_few_trials_have_no_importance(tmp_path: Path) -> None:
    report = Report.of(made_study(tmp_path / "few", 5, detectors=False), Pictures())
    files = {f.name for f in write_report(report, tmp_path / "out")}
    assert not {"importance.csv", "importance.png", "curves.csv"} & files
