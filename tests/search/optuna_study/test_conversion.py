from __future__ import annotations

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from nasdet.search.optuna_study.conversion import CURVE, PAUSED, records_of, report, space_of
from nasdet.space import Integer, Real

DIRECTIONS = [optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE]
DOMAINS = {
    "kind": CategoricalDistribution(["a", "b", "c"]),
    "depth": IntDistribution(1, 9, step=2),
    "rate": FloatDistribution(1e-3, 1, log=True),
    "drop": FloatDistribution(0, 1, step=0.25),
    "inner": FloatDistribution(0, 1),
    "one": IntDistribution(3, 3),
}


def trial(number: int, state: TrialState = TrialState.COMPLETE, **params: object) -> FrozenTrial:
    complete = state == TrialState.COMPLETE
    made = create_trial(
        state=state,
        params=params,
        distributions={n: DOMAINS[n] for n in params},
        values=[float(number), 1.0] if complete else None,
    )
    made.number = number
    return made


def test_conditions_are_read_from_the_trials() -> None:
    trials = [
        trial(0, kind="a", one=3),
        trial(1, kind="b", depth=3, drop=0.25, one=3),
        trial(2, kind="b", depth=5, drop=0.75, inner=0.5, one=3),
        trial(3, kind="c", rate=0.1, one=3),
    ]
    space = space_of(trials, DIRECTIONS, (1, 3))
    assert space is not None
    assert space.parameters["depth"] == Integer(1, 9, 2) and space.parameters["rate"] == Real(1e-3, 1, True)
    assert space.parameters["drop"] == Integer(0, 4) and "one" not in space.parameters
    assert space.conditions == {
        "depth": {"kind": ("b",)},
        "drop": {"kind": ("b",)},
        "inner": {"depth": (5,)},
        "rate": {"kind": ("c",)},
    }
    assert [o.direction for o in space.objectives] == ["max", "min"] and space.rungs() == (1, 3)


def test_nothing_chosen_yet() -> None:
    assert space_of([], DIRECTIONS, (1,)) is None


def test_states_curves_and_the_order_of_results() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    slow, fast, open_, lost = (study.ask({"inner": DOMAINS["inner"]}) for _ in range(4))
    report(slow, 1, [0.1, 5.0], pause=True)
    report(fast, 1, [0.2, 6.0])
    fast.set_constraint("memory", -1.0)
    study.tell(fast, [0.4, 6.0])
    report(open_, 1, [0.3, 7.0])
    study.tell(lost, state=TrialState.FAIL)
    broken = study.ask({"inner": DOMAINS["inner"]})
    broken.set_constraint("memory", 2.0)
    study.tell(broken, [0.9, 9.0])
    records = records_of(study.trials, 3)
    assert [r.state for r in records] == ["paused", "complete", "running", "failed", "stopped"]
    assert [[(g.epochs, g.told) for g in r.rungs] for r in records] == [
        [(1, 0)],
        [(1, 1), (3, 2)],
        [(1, 3)],
        [],
        [(3, 4)],
    ]
    assert records[1].values == {"objective_0": 0.4, "objective_1": 6.0, "constraint memory": -1.0}
    assert study.trials[0].user_attrs[PAUSED] and len(study.trials[1].user_attrs[CURVE]) == 1
