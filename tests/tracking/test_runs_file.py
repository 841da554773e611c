"""`tracking.jsonl`: the key of a study and its runs."""

from __future__ import annotations

from pathlib import Path

from nasdet.tracking.runs_file import FILE, PARENT, add_run, mirror_state, note_mirror, run_ids, study_key


def test_the_key_stays_and_runs_are_found_again(tmp_path: Path) -> None:
    assert run_ids(tmp_path) == {}
    key = study_key(tmp_path)
    add_run(tmp_path, PARENT, "p")
    add_run(tmp_path, "t1", "a")
    assert study_key(tmp_path) == key and run_ids(tmp_path) == {"t1": "a"}


def test_the_last_note_of_the_mirror_counts(tmp_path: Path) -> None:
    assert mirror_state(tmp_path) == ""
    note_mirror(tmp_path, "running")
    add_run(tmp_path, "t1", "a")
    assert mirror_state(tmp_path) == "running"
    note_mirror(tmp_path, "whole")
    assert mirror_state(tmp_path) == "whole" and run_ids(tmp_path) == {"t1": "a"}


def test_a_line_cut_off_by_a_crash_costs_that_line_only(tmp_path: Path) -> None:
    key = study_key(tmp_path)
    with (tmp_path / FILE).open("a") as file:
        file.write('{"trial": "t1", "run_')
    add_run(tmp_path, "t2", "b")
    assert study_key(tmp_path) == key and run_ids(tmp_path) == {"t2": "b"}
