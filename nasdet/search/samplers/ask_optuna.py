"""Asks an Optuna sampler for one proposal.

One decision: it is asked in a new in-memory study of what it may see, so that its answer depends on nothing else.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from nasdet.search.samplers.distributions import direction, distribution, encode, suggest
from nasdet.search.samplers.history import SamplerHistory
from nasdet.space import Domain, Json, Params, SearchSpace
from nasdet.trial import TrialRecord

Fill = Callable[[TrialRecord, str, Domain], Json]
"""The value for a parameter that does not exist in a candidate."""


def ask(
    space: SearchSpace,
    seen: SamplerHistory,
    sampler: Callable[[], optuna.samplers.BaseSampler],
    *,
    fill: Fill | None,
    attributes: Mapping[str, Any],
) -> Params:
    """Flat parameters of the next candidate, without those that do not exist.

    Args:
        space: the search space.
        seen: what the sampler learns from.
        sampler: makes the seeded sampler; it is used once.
        fill: for a sampler that knows no conditional parameters: values for those that do not exist. None: the sampler
            sees only the parameters that exist.
        attributes: system attributes that the sampler expects on every finished trial.
    """
    with _quiet():
        directions = [direction(o) for o in space.objectives]
        study = optuna.create_study(directions=directions, sampler=sampler())
        study.add_trials(_trials(space, seen, fill, attributes))
        trial = study.ask()
        params: Params = {}
        for name, domain in space.parameters.items():
            active = space.is_active(name, params)
            if active or fill is not None:
                value = suggest(trial, name, domain)
                params |= {name: value} if active else {}
    return params


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Optuna's notices about experimental samplers and their speed."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)


def _trials(
    space: SearchSpace, seen: SamplerHistory, fill: Fill | None, attributes: Mapping[str, Any]
) -> list[FrozenTrial]:
    """What the sampler sees, in the order of the proposals; infeasible and failed candidates have the worst values of
    all."""
    make = functools.partial(_trial, space, {n: distribution(d) for n, d in space.parameters.items()}, fill)
    constrained = bool(seen.broken or space.constraints)

    def complete(record: TrialRecord, values: list[float]) -> FrozenTrial:
        trial = make(TrialState.COMPLETE, record, values, system_attrs=dict(attributes))
        if constrained:
            trial.set_constraint("limit", _excess(space, record))
        return trial

    rows = [[values[o.name] for o in space.objectives] for _, values in seen.observed]
    columns = zip(space.objectives, zip(*rows, strict=True), strict=True)
    worst = [min(column) if o.direction == "max" else max(column) for o, column in columns]
    trials = [(record, complete(record, row)) for (record, _), row in zip(seen.observed, rows, strict=True)]
    trials += [(r, complete(r, worst)) for r in seen.broken]
    trials += [(r, make(TrialState.RUNNING, r)) for r in seen.running]
    return [trial for _, trial in sorted(trials, key=lambda pair: pair[0].number)]


def _trial(
    space: SearchSpace,
    distributions: dict[str, BaseDistribution],
    fill: Fill | None,
    state: TrialState,
    record: TrialRecord,
    values: list[float] | None = None,
    system_attrs: dict[str, Any] | None = None,
) -> FrozenTrial:
    params = {}
    for name, domain in space.parameters.items():
        if name in record.params:
            params[name] = encode(domain, record.params[name])
        elif fill is not None:
            params[name] = encode(domain, fill(record, name, domain))
    now = datetime.datetime.now()
    return _SharedTrial(
        number=-1, trial_id=-1, state=state, value=None, values=values, params=params,
        distributions={n: distributions[n] for n in params}, user_attrs={}, system_attrs=system_attrs or {},
        intermediate_values={}, datetime_start=now, datetime_complete=now if state.is_finished() else None,
    )  # fmt: skip


class _SharedTrial(FrozenTrial):
    """A trial whose copy in the storage shares its values, since nobody changes them. Full copies took half the time of
    a proposal, and the checks of `create_trial`, which the study repeats, a quarter."""

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTrial:
        return copy.copy(self)


def _excess(space: SearchSpace, record: TrialRecord) -> float:
    """The largest violation of a constraint as a share of its bound, at most 0 if none is violated; 1 for a candidate
    that could not be built or trained for another reason."""
    known = [c for c in space.constraints if c.name in record.values]
    excess = max((c.violation(record.values) / (abs(c.bound) or 1.0) for c in known), default=-1.0)
    if record.state in ("infeasible", "failed"):
        return excess if excess > 0 else 1.0
    return min(excess, 0.0)
