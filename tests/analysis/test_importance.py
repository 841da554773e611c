"""What made the values is found, what did not is not above chance, and few trials are said."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest

from nasdet.analysis.dataframes import write_csv
from nasdet.analysis.importance import MIN_TRIALS, importance, method, too_few
from nasdet.space import SearchSpace, parse_space
from nasdet.trial import TrialRecord

DATA = {
    "space": {
        "x": {"kind": "float", "low": 0, "high": 1},
        "kind": {"kind": "choice", "values": ["a", [1, 2]]},
        "deep": {"kind": "int", "low": 1, "high": 4, "when": {"kind": "a"}},
        "idle": {"kind": "float", "low": 0, "high": 1},
        "fixed": {"kind": "choice", "values": [3]},
    },
    "objectives": [{"name": "good", "direction": "max"}, {"name": "cost", "direction": "min"}],
    "budget": {"trials": 10, "epochs": 1},
}


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return parse_space(DATA, function=True)


@pytest.fixture(scope="module")
def trials(space: SearchSpace) -> list[TrialRecord]:
    rng, records = random.Random(0), []
    for number in range(120):
        params = space.sample(rng)
        values = {"good": -abs(float(params["x"]) - 0.8), "cost": float(params.get("deep", 9))}  # type: ignore[arg-type]
        records.append(TrialRecord(f"t{number}", number, "complete", params, values=values))
    return records


def test_the_parameter_behind_each_objective_comes_first(trials: list[TrialRecord], space: SearchSpace) -> None:
    rows = importance(trials, space)
    first = {o: next(r for r in rows if r.objective == o) for o in ("good", "cost")}
    assert first["good"].parameter == "x" and first["good"].share > 0.7 > first["good"].chance
    assert first["cost"].parameter == "deep" and first["cost"].conditional
    idle = [r for r in rows if r.parameter == "idle"]
    assert len(idle) == 2 and all(r.share < 0.1 for r in idle)
    assert {r.parameter for r in rows} == {"x", "kind", "deep", "idle"}
    assert sum(r.share for r in rows if r.objective == "good") == pytest.approx(1)
    by_chance = [{r.parameter: r.chance for r in rows if r.objective == o} for o in ("good", "cost")]
    ratios = [by_chance[0][name] / by_chance[1][name] for name in by_chance[0]]
    assert ratios == pytest.approx([ratios[0]] * 4) and ratios[0] != pytest.approx(1)  # a share of each one's own sum


def test_stopped_trials_change_nothing(trials: list[TrialRecord], space: SearchSpace) -> None:
    stopped = TrialRecord("s", 999, "stopped", dict(trials[0].params), values={"good": 9.0, "cost": 0.0})
    assert importance([*trials, stopped], space) == importance(trials, space)
    assert "best 12 of 120" in method([*trials, stopped])


def test_too_few_trials_are_said(trials: list[TrialRecord]) -> None:
    assert too_few(trials[:MIN_TRIALS]) == ""
    assert too_few(trials[:3]) == "importance needs 10 trials trained in full, there are 3"


def test_table(trials: list[TrialRecord], space: SearchSpace, tmp_path: Path) -> None:
    write_csv(importance(trials, space), tmp_path / "importance.csv")
    with (tmp_path / "importance.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["parameter"] == "x" and 0.7 < float(rows[0]["share"]) <= 1
