"""What was spent and why candidates went no further."""

from __future__ import annotations

import csv
from pathlib import Path

from nasdet.analysis.dataframes import write_csv
from nasdet.analysis.effort import effort, reasons
from nasdet.trial import TrialRecord


def test_effort_counts_each_state(records: list[TrialRecord]) -> None:
    rows = {row.state: row for row in effort(records)}
    assert list(rows) == ["complete", "stopped", "failed"]
    assert rows["complete"].trials == 4 and rows["complete"].epochs == 48 and rows["complete"].train_seconds == 40


def test_reasons_are_grouped_by_their_words(tmp_path: Path) -> None:
    states = [("infeasible", "violates params_m <= 5 by 0.25"), ("infeasible", "violates params_m <= 5 by 3.1e+02")]
    states += [("duplicate", "the same as t0003"), ("duplicate", "the same as t0012"), ("failed", ""), ("complete", "")]
    made = [TrialRecord(f"t{i}", i, s, {}, reason=r) for i, (s, r) in enumerate(states)]  # type: ignore[arg-type]
    rows = reasons(made)
    assert [(r.state, r.trials) for r in rows] == [("failed", 1), ("infeasible", 2), ("duplicate", 2)]
    assert rows[0].example == "no reason was recorded" and rows[1].example == "violates params_m <= 5 by 0.25"
    write_csv(rows, tmp_path / "reasons.csv")
    with (tmp_path / "reasons.csv").open(newline="") as file:
        assert [row["trials"] for row in csv.DictReader(file)] == ["1", "2", "2"]
