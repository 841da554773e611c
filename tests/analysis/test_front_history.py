"""History, table and CSV of a front."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from nasdet.analysis.front_history import hypervolume_history, write_csv
from nasdet.pareto import as_costs, front, hypervolume, values_of


def test_history_equals_the_front_of_every_prefix(records: Any, axes: Any, reference: Any) -> None:
    steps = hypervolume_history(records, axes, reference)
    directions = [a.direction for a in axes]
    for step in steps:
        members = front(records[: step.step], axes)
        costs = as_costs(values_of(members, axes), directions)
        assert step.front_size == len(members)
        assert step.hypervolume == pytest.approx(hypervolume(costs, as_costs([reference], directions)[0]))
    assert [s.step for s in steps] == list(range(1, 7))
    assert (steps[-1].epochs, steps[-1].seconds) == (4 * 12 + 2 * 3, 60.0)


def test_trials_that_run_are_not_steps(records: Any, axes: Any, reference: Any) -> None:
    running = [r.replace(state="running") for r in records]
    assert hypervolume_history(running, axes, reference) == []


def test_no_history_before_there_is_a_reference_point(records: Any, axes: Any) -> None:
    assert hypervolume_history(records, axes, []) == []


def test_csv_holds_every_trial_and_parameter(records: Any, axes: Any, tmp_path: Path) -> None:
    write_csv(tmp_path / "new" / "trials.csv", records, axes)
    with (tmp_path / "new" / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(records)
    assert rows[0]["pareto"] == "true" and rows[3]["pareto"] == "false" and rows[3]["state"] == "stopped"
    assert rows[4]["reason"] == "out of memory, at 1 < 2" and rows[4]["ap"] == ""
    assert float(rows[0]["recipe.base_lr"]) == 0.01 and rows[0]["own.0"] == "0" and rows[0]["own.1"] == ""
