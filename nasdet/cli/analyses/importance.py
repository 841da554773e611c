"""`nasdet analyze --what importance`."""

from __future__ import annotations

import dataclasses
from typing import Any

from nasdet.cli.analyses import Request

SHOWN = 8
"""Parameters that the terminal shows of each objective."""


def run(request: Request) -> dict[str, Any]:
    """Write importance.csv and importance.png; `importance` has one entry per parameter and objective."""
    from nasdet.analysis.dataframes import write_csv
    from nasdet.analysis.importance import importance, method, too_few
    from nasdet.analysis.plots.importance import importance_png
    from nasdet.export.bundle import writing
    from nasdet.search import open_study

    store = open_study(request.target)
    records = store.records()
    result: dict[str, Any] = {"study": store.name, "reason": too_few(records), "importance": [], "files": []}
    if result["reason"]:
        return result
    rows = importance(records, store.space)
    folder = request.out or store.dir / "importance"
    files = [folder / "importance.csv", folder / "importance.png"]
    with writing(folder):
        write_csv(rows, files[0])
        importance_png(rows, store.name, files[1])
    listed = [dataclasses.asdict(row) for row in rows]
    return {**result, "method": method(records), "importance": listed, "files": [str(f) for f in files]}


def lines_of(result: dict[str, Any]) -> list[str]:
    """The most important parameters of each objective, those that chance explains marked."""
    if result["reason"]:
        return [f"{result['study']}: {result['reason']}"]
    lines = []
    for objective in dict.fromkeys(row["objective"] for row in result["importance"]):
        lines += ["", f"{objective:<34}{'share':>7}{'chance':>8}"]
        for row in [r for r in result["importance"] if r["objective"] == objective][:SHOWN]:
            name = row["parameter"] + (" *" if row["conditional"] else "")
            said = "" if row["share"] > row["chance"] else "  not above chance"
            lines.append(f"  {name:<32}{row['share']:>7.0%}{row['chance']:>8.0%}{said}")
    notes = ["", result["method"]]
    if any(row["conditional"] for row in result["importance"]):
        notes.append("* exists only under other parameters' values")
    return [*lines, *notes, *(f"written: {path}" for path in result["files"])]
