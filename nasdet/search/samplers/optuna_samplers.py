"""Samplers that learn from the study's results, by Optuna: TPE, Gaussian process, NSGA-II and NSGA-III.

The user's `sampler.options` replace the arguments that are set here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import optuna

from nasdet.errors import InputError
from nasdet.search.samplers.ask_optuna import Fill, ask
from nasdet.search.samplers.history import BEST, GP_HISTORY, MAX_HISTORY, ProposalRequest, history
from nasdet.search.samplers.random_sampling import random_params
from nasdet.space import Domain, Json, Params
from nasdet.trial import TrialRecord

MIN_OBSERVATIONS = 8
"""Observations before a sampler learns; until then proposals are random."""
MAX_DUPLICATES = 5
"""Duplicate proposals in a row after which the next one is random: the sampler does not see what it repeats."""
POPULATION = 16
"""Parents of the genetic samplers: the best of all that they see."""


def tpe(request: ProposalRequest) -> Params:
    """Tree-structured Parzen estimator."""
    arguments = {"multivariate": True, "group": True, "constant_liar": True, "n_startup_trials": 0}
    return _learnt(request, optuna.samplers.TPESampler, arguments)


def gp(request: ProposalRequest) -> Params:
    """Gaussian process; it takes parameters that do not exist to be in the middle of their domain."""

    def middle(record: TrialRecord, name: str, domain: Domain) -> Json:
        return domain.from_unit(0.5)

    arguments = {"n_startup_trials": 0, "warn_independent_sampling": False}
    return _learnt(request, optuna.samplers.GPSampler, arguments, most=GP_HISTORY, best=GP_HISTORY // 2, fill=middle)


def nsga2(request: ProposalRequest) -> Params:
    """NSGA-II."""
    return _genetic(request, optuna.samplers.NSGAIISampler)


def nsga3(request: ProposalRequest) -> Params:
    """NSGA-III."""
    return _genetic(request, optuna.samplers.NSGAIIISampler)


def _genetic(request: ProposalRequest, kind: type[optuna.samplers.BaseSampler]) -> Params:
    """Parents are chosen among all observations as if they were one generation: asynchronous workers have none.
    Parameters that do not exist have a random value each, as dormant genes."""

    def dormant(record: TrialRecord, name: str, domain: Domain) -> Json:
        return domain.sample(random.Random(f"{request.seed} {record.number} {name}"))

    attributes = {f"{kind.__name__}:generation": 0}
    return _learnt(request, kind, {"population_size": POPULATION}, fill=dormant, attributes=attributes)


def _learnt(
    request: ProposalRequest,
    kind: Callable[..., optuna.samplers.BaseSampler],
    arguments: Mapping[str, Any],
    *,
    most: int | None = None,
    best: int = BEST,
    fill: Fill | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Params:
    """The proposal of an Optuna sampler; a random one while there is little to learn from, or if it is a duplicate."""
    space = request.space
    rng = random.Random(request.proposal_seed)
    seen = history(request.records, space.objectives, rng, most or MAX_HISTORY, best)
    if len(seen.observed) < MIN_OBSERVATIONS or seen.duplicates >= MAX_DUPLICATES:
        return random_params(request)

    def make() -> optuna.samplers.BaseSampler:
        try:
            return kind(seed=request.proposal_seed, **{**arguments, **space.sampler.options})
        except (TypeError, ValueError) as error:
            raise InputError(str(error), where=f"{space.name}: sampler.options") from None

    params = ask(space, seen, make, fill=fill, attributes=attributes or {})
    return random_params(request) if any(params == r.params for r in seen.candidates) else params
