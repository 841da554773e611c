from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from nasdet.search import Finished, Study
from tests.search.conftest import accuracy, toy


@pytest.mark.slow  # that it runs is tested with the documentation
def test_the_example_of_the_docs_runs(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (repository / "docs" / "search.md").read_text()
    own, optuna = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(own, names)
    simulation = names["simulation"]
    assert simulation.history[-1].epochs <= 400
    assert simulation.history[-1].time < 100  # eight at once
    assert len(simulation.study.front) >= 3
    assert len(capsys.readouterr().out.splitlines()) == len(simulation.study.front) + 1
    assert sum(len(r.rungs) for r in names["study"].records) == 20
    exec(optuna, names)
    assert 400 <= names["spent"] < 427 and "on the front" in capsys.readouterr().out
    assert len(names["study"].best_trials) >= 3


def test_ask_and_tell_until_the_budget_is_spent() -> None:
    study = Study(toy(scheduler={"kind": "freeze_thaw"}), seed=7)
    with pytest.raises(Finished):
        while (job := study.ask()) is not None:
            study.tell(job, {"ap": accuracy(job.params, job.stop), "params_m": float(job.params["size"])})
    summary = study.summary()
    assert summary.seed == 7 and summary.trials.total == 20
    assert summary.front and summary.hypervolume > 0
    assert {m.trial for m in summary.front} == {r.trial for r in study.front}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "good", True])
def test_a_value_that_is_not_a_finite_number_fails_the_trial(value: Any) -> None:
    study = Study(toy())
    job = study.ask()
    assert job is not None
    record = study.tell(job, {"ap": value, "params_m": 1.0})
    assert record.state == "failed" and "ap" in record.reason


def test_a_reference_point_of_the_user_is_kept() -> None:
    study = Study(toy(), reference=[0.2, 30.0])
    study.ask()
    assert study.summary().reference_point == (0.2, 30.0)
