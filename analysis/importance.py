"""Which parameters mattered for each objective.

One decision: PED-ANOVA over the study's own complete trials (Watanabe et al. 2023; parameters under conditions as in
conditional PED-ANOVA, 2026; both Optuna's), and beside each figure what the same parameter reaches when the best
trials are drawn by lot, so that a bar that chance explains is seen as one.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence

import numpy as np
import optuna

from nasdet.pareto import as_costs, values_of
from nasdet.search.records.optuna_storage import quiet_optuna
from nasdet.search.samplers.distributions import distribution, encode
from nasdet.space import SearchSpace
from nasdet.trial import TrialRecord

MIN_TRIALS = 10
"""Complete trials below which nothing is computed."""
TOP_SHARE, MIN_TOP = 0.1, 5
"""The best tenth of the trials, at least five, is compared with all of them."""
SHUFFLES = 20
METHOD = (
    "PED-ANOVA: how far the best {top} of {trials} complete trials differ from all of them in each parameter, as share "
    "of the sum over all parameters. Chance: what 95% of {shuffles} random choices of as many trials stay below. "
    "A parameter that exists only under a condition is judged among the trials that have it, and whether it exists "
    "counts too."
)


@dataclasses.dataclass(frozen=True)
class Importance:
    """One parameter for one objective."""

    objective: str
    parameter: str
    share: float
    """0..1, of the sum over all parameters."""
    chance: float
    """The share that it reaches by chance."""
    conditional: bool
    """Whether it exists only under other parameters' values."""


def too_few(records: Sequence[TrialRecord]) -> str:
    """One line if the importance cannot be told yet, else empty."""
    count = len(_complete(records))
    if count >= MIN_TRIALS:
        return ""
    return f"importance needs {MIN_TRIALS} trials trained in full, there are {count}"


def importance(records: Sequence[TrialRecord], space: SearchSpace) -> list[Importance]:
    """The importance of each parameter with more than one value, by objective, the most important first.

    Args:
        records: of a study with at least `MIN_TRIALS` complete trials; others are passed over.
        space: what was searched.
    """
    complete = _complete(records)
    names = [n for n, d in space.parameters.items() if not distribution(d).single() and _varies(n, complete)]
    study = _study(space, complete, names)
    rng = np.random.default_rng(0)
    drawn = [_differences(study, rng.permutation(len(complete))) for _ in range(SHUFFLES)]
    chance = {name: float(np.quantile([one[name] for one in drawn], 0.95)) for name in drawn[0]}
    costs = as_costs(values_of(complete, space.objectives), [o.direction for o in space.objectives])
    found: list[Importance] = []
    for objective, column in zip(space.objectives, costs.T, strict=True):
        own = _differences(study, column)
        total = sum(own.values()) or 1.0
        for name in sorted(own, key=lambda n: -own[n]):
            share, by_chance = own[name] / total, chance[name] / total
            found.append(Importance(objective.name, name, share, by_chance, name in space.conditions))
    return found


def method(records: Sequence[TrialRecord]) -> str:
    """How the figures are to be read, in a few sentences."""
    count = len(_complete(records))
    return METHOD.format(top=_top(count), trials=count, shuffles=SHUFFLES)


def _complete(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    return [r for r in records if r.state == "complete"]


def _top(count: int) -> int:
    return max(MIN_TOP, math.ceil(TOP_SHARE * count))


def _varies(name: str, records: Sequence[TrialRecord]) -> bool:
    return len({repr(r.params.get(name)) for r in records}) > 1


def _study(space: SearchSpace, records: Sequence[TrialRecord], names: Sequence[str]) -> optuna.Study:
    """The records as trials of these parameters, numbered as given; their values are told by `_differences`."""
    trials = []
    for record in records:
        domains = {n: space.parameters[n] for n in names if n in record.params}
        params = {n: encode(d, record.params[n]) for n, d in domains.items()}
        distributions = {n: distribution(d) for n, d in domains.items()}
        trials.append(optuna.trial.create_trial(value=0.0, params=params, distributions=distributions))
    with quiet_optuna():
        study = optuna.create_study()
        study.add_trials(trials)
    return study


def _differences(study: optuna.Study, costs: np.ndarray) -> dict[str, float]:
    """PED-ANOVA's divergence of each parameter; costs `(N,)` belong to the trials."""
    share = _top(len(costs)) / len(costs)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=share)
    with warnings.catch_warnings(action="ignore"):  # that the target is to be made small, which costs are
        return evaluator.evaluate(study, target=lambda trial: float(costs[trial.number]))
