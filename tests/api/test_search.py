"""`nasdet.run_search` on functions, without Ray, and what it refuses; a search for detectors runs in the notebook."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import pytest

import nasdet
from nasdet.api.search import prepare_space
from nasdet.space import load_space, parse_space
from nasdet.trial import TrialRecord

SPACE: dict[str, Any] = {
    "name": "parabola",
    "space": {"x": {"kind": "float", "low": 0, "high": 1}, "n": {"kind": "int", "low": 1, "high": 9}},
    "objectives": [{"name": "gain", "direction": "max"}, {"name": "cost", "direction": "min"}],
    "budget": {"trials": 6, "epochs": 4, "rungs": [1, 2, 4], "seed": 1},
    "scheduler": {"kind": "halving", "eta": 2},
}


def parabola(params: dict[str, Any], budget: int) -> dict[str, float]:
    return {"gain": params["n"] - (params["x"] - 0.3) ** 2 - 1 / budget, "cost": params["n"] + params["x"]}


def test_a_function_of_this_process(capsys: pytest.CaptureFixture[str]) -> None:
    ended: list[TrialRecord] = []
    study = nasdet.run_search(SPACE, objective=parabola, study="parabola-1", on_trial_end=ended.append)
    assert isinstance(study, nasdet.Study) and study.path == Path("parabola-1") and study.name == "parabola-1"
    printed = capsys.readouterr()
    assert "t0000" in printed.out and printed.err == ""
    assert sorted(r.trial for r in ended) == sorted(study.trials.trial) and len(study.records) >= 6
    assert {r.trial: r.state for r in ended} == {r.trial: r.state for r in study.records}
    assert study.best.values["gain"] == study.front.gain.max() == study.trials.gain[study.trials.pareto].max()
    assert study.summary["objectives"][0]["name"] == "gain" and "front of" in repr(study)
    with pytest.raises(nasdet.InputError, match="is the study of a function"):
        study.export("best", "out")


def test_a_function_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "my_objective.py").write_text(
        "def f(params, budget):\n    return {'gain': budget, 'cost': params['n']}\n"
    )
    progress = io.StringIO()
    study = nasdet.run_search(SPACE, objective="my_objective:f", trials=3, progress=progress, study="s")
    assert study.space.budget.trials == 3 and progress.getvalue().count("\n") >= 3
    assert study.summary == nasdet.load_study("s").summary


def test_going_on_with_a_function_of_this_process(capsys: pytest.CaptureFixture[str]) -> None:
    calls = 0

    def interrupted(params: dict[str, Any], budget: int) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return parabola(params, budget)

    with pytest.raises(nasdet.NasdetError, match="Go on with: nasdet resume"):
        nasdet.run_search(SPACE, objective=interrupted, study="parabola-2", progress=False)
    assert capsys.readouterr().out == ""
    study = nasdet.load_study("parabola-2")
    with pytest.raises(nasdet.InputError, match="has no function"):
        study.resume(progress=False)
    assert study.resume(objective=parabola, progress=False).summary["trials"]["running"] == 0
    assert len(study.front) and study.refresh().best.state == "complete"


def test_a_callback_that_fails_ends_nothing() -> None:
    def fail(record: TrialRecord) -> None:
        raise RuntimeError("no disk")

    progress = io.StringIO()
    study = nasdet.run_search(SPACE, objective=parabola, on_trial_end=fail, progress=progress, trials=4, study="s")
    assert study.summary["trials"]["total"] >= 4 and progress.getvalue().count("no disk") == 1


@pytest.mark.parametrize(
    ("space", "changes", "message"),
    [
        ("detnot", {}, "no search space 'detnot'"),
        ("x" * 300, {}, "no search space 'xxx"),
        ("detnet", {"time_limit": "soon"}, "time_limit: 'soon' is not a duration"),
        ("detnet", {"time_limit": -1}, "time_limit: -1 is not above 0"),
        ("detnet", {"workers": "many"}, "--workers: 'many' is no number of at least 1"),
        ("detnet", {"trials": 0}, "budget.trials"),
        ("detnet", {"seed": -1}, "budget.seed"),
        ("detnet", {"overrides": ["budget.trails=3"]}, "did you mean 'trials'?"),
        ({"name": "x", "spice": {}}, {}, "spice"),
    ],
)
def test_wrong_arguments(space: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(nasdet.InputError) as error:
        nasdet.run_search(space, "digits", **changes)
    assert message in str(error.value)
    assert not Path("studies").exists()


def test_a_space_in_each_form() -> None:
    asked: dict[str, Any] = {"trials": 5, "time_limit": "2m", "workers": 2, "overrides": ["budget.seed=7"]}
    by_name = prepare_space("detnet", **asked)
    assert (by_name.budget.trials, by_name.budget.time_limit, by_name.budget.seed) == (5, 120.0, 7)
    assert by_name.resources.workers == 2
    loaded = load_space("detnet")
    for space in (loaded, loaded.raw):
        assert prepare_space(space, **asked).budget == by_name.budget
    function = prepare_space(SPACE, function=True, time_limit=math.pi)
    assert function.budget.time_limit == pytest.approx(math.pi)
    assert function.parameters == parse_space(SPACE, function=True).parameters
