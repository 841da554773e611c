"""The description of a study's run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from nasdet.tracking.mlflow_runs import MAX_TAG
from nasdet.tracking.note import next_commands, study_note


def test_a_long_table_is_shortened_before_the_commands(study: Any, tmp_path: Path) -> None:
    summary = study().summary
    names = [f"objective_{i:02d}_of_many" for i in range(20)]
    values = dict.fromkeys(names, 0.1234567)
    members = [dataclasses.replace(summary.front[0], values=values, trial=f"t{i:04d}") for i in range(40)]
    summary = dataclasses.replace(summary, front=tuple(members))
    note = study_note(summary, tmp_path, MAX_TAG)
    rows = note.count("| t0")
    assert 10 < rows < 30 and f"{40 - rows} more in front.json" in note
    assert MAX_TAG - 200 < len(note) <= MAX_TAG
    assert all(command in note for _, command in next_commands(summary, tmp_path))


def test_a_short_front_is_listed_completely(study: Any, tmp_path: Path) -> None:
    note = study_note(study().summary, tmp_path, MAX_TAG)
    assert "| t0000 |" in note and "| t0001 |" in note and "more in front.json" not in note
