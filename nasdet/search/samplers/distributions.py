"""Converts between the domains of a search space and Optuna's distributions. Choices that Optuna cannot store (lists)
are stored as JSON text."""

from __future__ import annotations

import json
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection

from nasdet.space import Choice, Domain, Integer, Objective, Real


def distribution(domain: Domain) -> BaseDistribution:
    """The Optuna distribution of a domain."""
    match domain:
        case Choice():
            return CategoricalDistribution([encode(domain, v) for v in domain.values])
        case Integer():
            return IntDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
        case Real():
            return FloatDistribution(domain.low, domain.high, log=domain.log)


def encode(domain: Domain, value: Any) -> Any:
    """A value as Optuna stores it."""
    if isinstance(domain, Choice) and isinstance(value, list | tuple | dict):
        return json.dumps(value)
    return value


def decode(domain: Domain, stored: Any) -> Any:
    """Inverse of `encode`."""
    if isinstance(domain, Choice) and isinstance(stored, str):
        return next(v for v in domain.values if encode(domain, v) == stored)
    return stored


def suggest(trial: optuna.Trial, name: str, domain: Domain) -> Any:
    """Ask an Optuna trial for a value of the domain."""
    match domain:
        case Choice():
            return decode(domain, trial.suggest_categorical(name, [encode(domain, v) for v in domain.values]))
        case Integer():
            return trial.suggest_int(name, domain.low, domain.high, step=domain.step, log=domain.log)
        case Real():
            return trial.suggest_float(name, domain.low, domain.high, log=domain.log)


def direction(objective: Objective) -> StudyDirection:
    """The objective's direction as Optuna has it."""
    return StudyDirection.MAXIMIZE if objective.direction == "max" else StudyDirection.MINIMIZE
