from __future__ import annotations

import random
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from nasdet.search.samplers.ask_optuna import ask
from nasdet.search.samplers.history import history
from nasdet.space import SearchSpace
from nasdet.trial import TrialRecord
from tests.search.conftest import observed


class Spy(optuna.samplers.RandomSampler):
    """Keeps what it is shown."""

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self.shown = study.get_trials(states=[s for s in TrialState if s != TrialState.WAITING])[:-1]
        super().before_trial(study, trial)


def shown(space: SearchSpace, records: list[TrialRecord], fill: Any = None) -> list[FrozenTrial]:
    spy = Spy(seed=0)
    seen = history(records, space.objectives, random.Random(0), 200, 32)
    params = ask(space, seen, lambda: spy, fill=fill, attributes={})
    assert not space.problems(params)
    return spy.shown


def test_the_sampler_sees_values_constraints_and_running_trials(space: SearchSpace) -> None:
    records = observed(space, 30)
    running = TrialRecord("t30", 30, "running", space.sample(random.Random(9)))
    broken = records[0].replace(state="failed", trial="t31", number=31)
    trials = shown(space, [*records, running, broken])
    assert len(trials) == 32
    for record, trial in zip([*records, running, broken], trials, strict=True):
        assert trial.params.keys() == record.params.keys()
        if record.state == "running":
            assert trial.state == TrialState.RUNNING
            continue
        assert trial.state == TrialState.COMPLETE
        limit = trial.constraints["limit"]
        assert (limit > 0) == (record.state in ("infeasible", "failed"))
        if record.state == "paused":
            assert trial.values == [record.values["ap"], record.values["params_m"]]
            assert limit == pytest.approx(min(record.values["params_m"] / 40 - 1, 0))
    rows = [t.values for t in trials if t.state == TrialState.COMPLETE]
    assert trials[31].values == [min(r[0] for r in rows), max(r[1] for r in rows)]


def test_parameters_that_do_not_exist_are_filled_in(space: SearchSpace) -> None:
    trials = shown(space, observed(space, 20), fill=lambda record, name, domain: domain.from_unit(0.5))
    assert all(t.params.keys() == space.parameters.keys() for t in trials)
    assert {t.params["extra"] for t in trials if t.params["kind"] != "b"} == {0.5}


def test_the_verbosity_of_optuna_is_restored(space: SearchSpace) -> None:
    before = optuna.logging.get_verbosity()
    shown(space, observed(space, 10))
    assert optuna.logging.get_verbosity() == before
