from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest

from nasdet.pareto import hypervolume
from nasdet.search import FreezeThawSampler, report


def values_of(params: dict[str, Any]) -> tuple[float, float]:
    x, y, z = params["x"], params["y"], params.get("z", 0.8)
    return (x - 0.3) ** 2 + (y - 0.6) ** 2 + (z - 0.2) ** 2, (x - 0.7) ** 2 + (y - 0.4) ** 2 + (z - 0.5) ** 2


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    params: dict[str, Any] = {n: trial.suggest_float(n, 0, 1) for n in ("x", "y")}
    if trial.suggest_categorical("kind", ["a", "b"]) == "b":
        params["z"] = trial.suggest_float("z", 0, 1)
    return params


def volume(study: optuna.Study) -> float:
    return hypervolume(np.array([t.values for t in study.get_trials() if t.values]), [0.6, 0.6])


def search(sampler: optuna.samplers.BaseSampler, trials: int = 40) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    study.optimize(lambda trial: values_of(suggest(trial)), n_trials=trials)
    return study


def test_beats_random_in_a_plain_study() -> None:
    own, drawn = FreezeThawSampler, optuna.samplers.RandomSampler
    gains = [volume(search(own(seed=s))) - volume(search(drawn(seed=s))) for s in range(3)]
    assert np.median(gains) > 0.03


def test_the_same_seed_gives_the_same_study() -> None:
    first, second, other = (search(FreezeThawSampler(seed=s), 24) for s in (1, 1, 2))
    assert [t.params for t in first.trials] == [t.params for t in second.trials] != [t.params for t in other.trials]


def test_one_objective_with_a_constraint() -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        trial.set_constraint("half", x - 0.5)
        return x

    study = optuna.create_study(direction="maximize", sampler=FreezeThawSampler(seed=0))
    study.optimize(objective, n_trials=30)
    feasible = [t.params["x"] for t in study.trials if t.params["x"] <= 0.5]
    assert max(feasible) > 0.45


def test_thaws_the_most_promising_trial_and_continues_in_another_process() -> None:
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(directions=["minimize"] * 2, storage=storage, study_name="s")
    spent, thawed, full = 0, 0, 9
    while spent < 110:
        sampler = FreezeThawSampler(rungs=(1, 3, full), seed=0)  # nothing is kept in the sampler
        study = optuna.load_study(study_name="s", storage=storage, sampler=sampler)
        trial = sampler.thaw(study)
        thawed += trial is not None
        trial = trial or study.ask()
        params = suggest(trial)
        trained, stop = sampler.step(trial)
        values = [v + 0.5 / stop for v in values_of(params)]
        spent += stop - trained
        if stop == full:
            study.tell(trial, values)
        else:
            report(trial, stop, values, pause=True)
    complete = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    assert 5 <= len(complete) < len(study.trials) and thawed > len(complete)
    assert sampler.step(optuna.Trial(study, complete[0]._trial_id)) == (full, full)
    count = len(study.trials)
    rest = FreezeThawSampler(rungs=(1, 3, full), seed=0).thaw(study, new=False)
    assert rest is not None and len(study.trials) == count and 0 < sampler.step(rest)[0] < full


@pytest.mark.parametrize("rungs", [(), (0, 1), (3, 1), (2, 2)])
def test_rungs_rise(rungs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rungs must rise"):
        FreezeThawSampler(rungs)


def test_values_are_checked() -> None:
    study = optuna.create_study(directions=["minimize"] * 2)
    trial = study.ask()
    for wrong in ([1.0], [1.0, float("nan")]):
        with pytest.raises(ValueError, match="one finite value for each of 2 objectives"):
            report(trial, 1, wrong)
