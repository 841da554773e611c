"""`nasdet analyze --what report`."""

from __future__ import annotations

import time
from typing import Any

from nasdet.cli.analyses import Request


def run(request: Request) -> dict[str, Any]:
    """Write report.html and its parts; `page` is its path, `run_id` the MLflow run that holds a copy, if any."""
    from nasdet.analysis.report.content import Report
    from nasdet.analysis.report.write import write_report
    from nasdet.driver.inference.front_pictures import front_pictures
    from nasdet.driver.observers.mlflow_mirror import attach_report
    from nasdet.errors import InputError
    from nasdet.export.bundle import writing
    from nasdet.search import open_study

    start = time.monotonic()
    store = open_study(request.target)
    if not store.config.reference_point:
        raise InputError("no trial was measured yet, so there is nothing to report", where=store.name)
    folder = request.out or store.dir / "report"
    report = Report.of(store, front_pictures(store))
    with writing(folder):
        files = write_report(report, folder)
    seconds = round(time.monotonic() - start, 2)
    result = {"study": store.name, "page": str(files[0]), "files": [str(f) for f in files], "seconds": seconds}
    return {**result, "note": report.pictures.note, "run_id": attach_report(store, files[0])}


def lines_of(result: dict[str, Any]) -> list[str]:
    """Where the page is."""
    lines = [result["note"]] if result["note"] else []
    lines += [f"written: {result['page']} and {len(result['files']) - 1} tables and pictures beside it"]
    return lines + ([f"also in MLflow: artifact report.html of run {result['run_id']}"] if result["run_id"] else [])
