"""`nasdet.load_study` on a stored study."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

import nasdet
from nasdet.analysis.dataframes import trial_rows, write_csv, write_trials
from nasdet.analysis.plots.front_view import Axis
from nasdet.errors import InputError
from nasdet.search import StudyStore, open_study, summarise
from nasdet.space import parse_space
from nasdet.study_config import StudyConfig
from nasdet.tracking import run_ids
from nasdet.tracking.runs_file import add_run
from nasdet.trial import TrialRecord


def test_trials_and_front_are_dataframes(study: StudyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASDET_HOME", str(tmp_path))
    store = open_study(shutil.copytree(study.dir, tmp_path / "studies" / "one"))
    add_run(store.dir, "t0001", "abc")
    read = nasdet.load_study("one")
    assert isinstance(read.trials, pd.DataFrame) and isinstance(read.front, pd.DataFrame)
    assert list(read.trials.trial) == [r.trial for r in store.records()]
    assert list(read.front.trial) == [m["trial"] for m in read.summary["front"]] and read.front.pareto.all()
    assert read.summary == summarise(store).to_json() and read.front.ap.is_monotonic_decreasing
    rows = read.trials.set_index("trial")
    assert rows.loc["t0003", "state"] == "failed" and pd.isna(rows.loc["t0003", "ap"])
    assert rows.loc["t0001", "mlflow_run_id"] == "abc" and rows.loc["t0002", "mlflow_run_id"] == ""
    assert run_ids(store.dir) == {"t0001": "abc"}
    lacking = [r.trial for r in store.records() if "depth" not in r.params]
    assert lacking and rows.loc[lacking, "depth"].isna().all() and rows.x.between(0, 1).all()
    best = rows.nlargest(1, "ap")
    assert best.x.item() == store.get(best.index[0]).params["x"]
    pd.testing.assert_frame_equal(nasdet.load_study(store.dir).trials, read.trials)


def test_a_study_without_trials(tmp_path: Path) -> None:
    space = parse_space({"name": "m", "space": {"x": {"kind": "float", "low": 0, "high": 1}},
                         "objectives": [{"name": "a", "direction": "max"}], "budget": {"trials": 2, "epochs": 1}},
                        function=True)  # fmt: skip
    StudyStore.create(tmp_path / "none", StudyConfig(study="none", data="f"), space)
    study = nasdet.load_study(tmp_path / "none")
    assert len(study.trials) == len(study.front) == 0 and list(study.front.state) == []


def test_a_parameter_may_bear_the_name_of_a_column() -> None:
    record = TrialRecord("t0", 0, "complete", {"state": 3, "size": 7, "x": 1}, values={"size": 2.0}, epochs=1)
    (row,) = trial_rows([record], [Axis("size", "min")])
    assert (row["state"], row["params.state"], row["size"], row["params.size"], row["x"]) == ("complete", 3, 2.0, 7, 1)


def test_csv_holds_every_trial_and_parameter(records: Any, axes: Any, tmp_path: Path) -> None:
    write_trials(records, axes, tmp_path / "new" / "trials.csv")
    with (tmp_path / "new" / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(records)
    assert rows[0]["pareto"] == "true" and rows[3]["pareto"] == "false" and rows[3]["state"] == "stopped"
    assert rows[4]["reason"] == "out of memory, at 1 < 2" and rows[4]["ap"] == ""
    assert float(rows[0]["recipe.base_lr"]) == 0.01 and rows[0]["own.0"] == "0" and rows[0]["own.1"] == ""


class Row(NamedTuple):
    name: str
    count: int | None
    share: float | None


def test_tables_are_written_as_by_the_csv_module(tmp_path: Path) -> None:
    rows = [Row("a,b", 1, 0.1), Row('say "x"', None, 1e-9), Row("two\nlines", 3, None), Row("", 10**15, 2 / 3)]
    with (tmp_path / "wanted.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows(rows)
    write_csv(rows, tmp_path / "tuples.csv")
    write_csv([row._asdict() for row in rows], tmp_path / "dicts.csv")
    assert {(tmp_path / f"{n}.csv").read_bytes() for n in ("wanted", "tuples", "dicts")} == {
        (tmp_path / "wanted.csv").read_bytes()
    }
    write_csv([], tmp_path / "none.csv", Row._fields)
    assert (tmp_path / "none.csv").read_bytes() == b"name,count,share\r\n"


def test_no_such_study_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no study 'nowhere'"):
        nasdet.load_study("nowhere")


def test_importing_nasdet_imports_nothing_else() -> None:
    code = "import sys, nasdet; print([m for m in sys.modules if m.startswith('nasdet') or m in ('numpy', 'pandas')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['nasdet']"
