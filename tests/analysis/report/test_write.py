"""The files that a report leaves."""

from __future__ import annotations

import csv
from pathlib import Path

from nasdet.analysis.report.content import Pictures, Report
from nasdet.analysis.report.write import PAGE, write_report
from nasdet.search.records.baseline import create_baseline
from tests.analysis.made_study import made_study


def test_page_pictures_and_tables(tmp_path: Path) -> None:
    store = made_study(tmp_path / "made")
    files = write_report(Report.of(store, Pictures()), tmp_path / "out")
    names = {f.name for f in files}
    drawn = {f"{n}.png" for n in ("pareto", "hypervolume", "importance", "parallel")}
    tables = {f"{n}.csv" for n in ("trials", "front", "effort", "reasons", "hypervolume", "importance")}
    assert files[0].name == PAGE and names == {PAGE, "summary.json"} | drawn | tables
    assert all(f.stat().st_size > 5000 for f in files if f.suffix in (".png", ".html"))
    with (tmp_path / "out" / "front.csv").open(newline="") as file:
        assert {row["pareto"] for row in csv.DictReader(file)} == {"true"}


def test_few_trials_of_a_function_with_its_baseline(tmp_path: Path) -> None:
    store = made_study(tmp_path / "few", 5, detectors=False)
    baseline = create_baseline(store, "")
    for record in store.records():
        baseline.put(record)
    files = write_report(Report.of(store, Pictures()), tmp_path / "out")
    assert not {"importance.csv", "importance.png"} & {f.name for f in files}
    with (tmp_path / "out" / "curves.csv").open(newline="") as file:
        assert {row["search"] for row in csv.DictReader(file)} == {"this search", "random search"}
