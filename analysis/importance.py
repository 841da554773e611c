"""Which parameters mattered for each objective: PED-ANOVA over the study's complete trials.

PED-ANOVA (Watanabe et al. 2023; for parameters under conditions, conditional PED-ANOVA, 2026; Optuna has both) compares
the distribution of a parameter among the best trials with its distribution among all. The more they differ, by Pearson
divergence, the more the parameter matters.

One decision: a chance level stands beside each figure. With few trials the distributions differ for any choice of
"best" trials, so the same is computed for random choices, and a bar below what 95% of these reach means nothing.
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
"""Random choices of "best" trials behind the chance level."""
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
    """The share that 95% of random choices of the best trials stay below."""
    conditional: bool
    """Whether it exists only under other parameters' values."""


def too_few(records: Sequence[TrialRecord]) -> str:
    """Why there are too few trials, in one line; empty if there are enough."""
    count = len(_complete(records))
    if count >= MIN_TRIALS:
        return ""
    return f"importance needs {MIN_TRIALS} trials trained in full, there are {count}"


def importance(records: Sequence[TrialRecord], space: SearchSpace) -> list[Importance]:
    """The importance of each parameter with more than one value, by objective, the most important first.

    Args:
        records: of a study with at least `MIN_TRIALS` complete trials; only these count.
        space: what was searched.
    """
    complete = _complete(records)
    names = [n for n, d in space.parameters.items() if not distribution(d).single() and _varies(n, complete)]
    study = _study(space, complete, names)
    # Chance level: the divergences if trials were ranked at random. It does not depend on the objective.
    rng = np.random.default_rng(0)
    shuffled = [_divergences(study, rng.permutation(len(complete))) for _ in range(SHUFFLES)]
    chance = {name: float(np.quantile([one[name] for one in shuffled], 0.95)) for name in shuffled[0]}
    costs = as_costs(values_of(complete, space.objectives), [o.direction for o in space.objectives])
    found: list[Importance] = []
    for objective, column in zip(space.objectives, costs.T, strict=True):
        divergence = _divergences(study, column)
        total = sum(divergence.values()) or 1.0
        for name in sorted(divergence, key=lambda n: -divergence[n]):
            share, by_chance = divergence[name] / total, chance[name] / total
            found.append(Importance(objective.name, name, share, by_chance, name in space.conditions))
    return found


def method(records: Sequence[TrialRecord]) -> str:
    """How to read the figures, in a few sentences."""
    count = len(_complete(records))
    return METHOD.format(top=_top(count), trials=count, shuffles=SHUFFLES)


def _complete(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    return [r for r in records if r.state == "complete"]


def _top(count: int) -> int:
    return max(MIN_TOP, math.ceil(TOP_SHARE * count))


def _varies(name: str, records: Sequence[TrialRecord]) -> bool:
    return len({repr(r.params.get(name)) for r in records}) > 1


def _study(space: SearchSpace, records: Sequence[TrialRecord], names: Sequence[str]) -> optuna.Study:
    """The records as trials of these parameters, in their order; `_divergences` gives them values."""
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


def _divergences(study: optuna.Study, costs: np.ndarray) -> dict[str, float]:
    """PED-ANOVA's divergence of each parameter, from the costs `(N,)` of the trials, which are to be small."""
    share = _top(len(costs)) / len(costs)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=share)
    with warnings.catch_warnings(action="ignore"):  # Optuna warns that it minimises the target, as it should
        return evaluator.evaluate(study, target=lambda trial: float(costs[trial.number]))
