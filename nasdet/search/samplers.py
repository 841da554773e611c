"""What to try next. One decision: a proposal is a pure function of (records, seed, number): the sampler sees a fresh
in-memory study of the observations at one rung, so low budgets are never mixed with high ones, history stays bounded,
and a resumed study proposes what an unbroken one would have."""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from nasdet.search.distributions import distribution, encode, suggest
from nasdet.search.limits import violations
from nasdet.space import SearchSpace
from nasdet.space.trial import TrialRecord

MIN_OBSERVATIONS = 8
"""A rung needs this many observations before the sampler learns from it."""
MAX_HISTORY = 200
"""Observations a sampler sees: the newest ones; the rest of the time goes into training."""
STARTUP = 8
"""Random proposals before a model-based sampler takes over."""


def propose(space: SearchSpace, records: Sequence[TrialRecord], *, seed: int, number: int) -> dict[str, Any]:
    """Flat parameters of the next candidate, inactive ones left out.

    Args:
        space: what may be chosen, and `space.sampler.kind`.
        records: everything known so far.
        seed: of the study.
        number: of the proposal; the same (records, seed, number) give the same proposal.
    """
    own_seed = (seed * 1_000_003 + number) & 0x7FFFFFFF
    kind = "tpe" if space.sampler.kind == "auto" else space.sampler.kind
    rung = fidelity(records)
    observed = [r for r in records if _at(r, rung) is not None]
    if kind == "random" or len(observed) < STARTUP:
        return space.sample(random.Random(own_seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = _memory_study(space, records, rung, _SAMPLERS[kind](own_seed, dict(space.sampler.options)))
        trial = study.ask()
        params: dict[str, Any] = {}
        for name, domain in space.parameters.items():
            if space.is_active(name, params):
                params[name] = suggest(trial, name, domain)
    return params


def fidelity(records: Sequence[TrialRecord]) -> int:
    """The highest rung, in epochs, with at least `MIN_OBSERVATIONS` observations; else the lowest; 0 if none."""
    counts: dict[int, int] = {}
    for record in records:
        for rung in record.rungs:
            counts[rung.epochs] = counts.get(rung.epochs, 0) + 1
    enough = [epochs for epochs, n in counts.items() if n >= MIN_OBSERVATIONS]
    return max(enough) if enough else min(counts, default=0)


def _tpe(seed: int, options: dict[str, Any]) -> optuna.samplers.BaseSampler:
    defaults = {"multivariate": True, "group": True, "n_startup_trials": 0}
    return optuna.samplers.TPESampler(seed=seed, **{**defaults, **options})


def _nsga2(seed: int, options: dict[str, Any]) -> optuna.samplers.BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=seed, **{"population_size": 16, **options})


_SAMPLERS = {"tpe": _tpe, "nsga2": _nsga2}


def _memory_study(
    space: SearchSpace, records: Sequence[TrialRecord], rung: int, sampler: optuna.samplers.BaseSampler
) -> optuna.Study:
    directions = [
        StudyDirection.MAXIMIZE if o.direction == "max" else StudyDirection.MINIMIZE for o in space.objectives
    ]
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=directions, sampler=sampler)
    optuna.logging.set_verbosity(level)
    known = [t for t in (_as_trial(space, r, rung) for r in records) if t is not None]
    for i, trial in enumerate(known[-MAX_HISTORY:]):
        if sampler.__class__ is optuna.samplers.NSGAIISampler:
            trial.system_attrs["NSGAIISampler:generation"] = i // 16
        study.add_trial(trial)
    return study


def _as_trial(space: SearchSpace, record: TrialRecord, rung: int) -> optuna.trial.FrozenTrial | None:
    """The record as the sampler may see it: observed at `rung`, infeasible, or running; else None."""
    domains = {name: space.parameters[name] for name in record.params if name in space.parameters}
    shared: dict[str, Any] = {
        "params": {name: encode(d, record.params[name]) for name, d in domains.items()},
        "distributions": {name: distribution(d) for name, d in domains.items()},
    }
    if record.state == "infeasible":
        worst = [-1e9 if o.direction == "max" else 1e9 for o in space.objectives]
        violation = max([1e-9, *violations(space, record.values).values()])
        return create_trial(state=TrialState.COMPLETE, values=worst, constraints={"cost": violation}, **shared)
    values = _at(record, rung)
    if values is not None:
        row = [values[o.name] for o in space.objectives]
        return create_trial(state=TrialState.COMPLETE, values=row, constraints={"cost": -1.0}, **shared)
    if record.state == "failed":
        return create_trial(state=TrialState.FAIL, **shared)
    if record.state == "running" and not record.rungs:
        return create_trial(state=TrialState.RUNNING, **shared)
    return None


def _at(record: TrialRecord, epochs: int) -> dict[str, float] | None:
    return next((r.values for r in record.rungs if r.epochs == epochs), None)
