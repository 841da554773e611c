"""Converts an Optuna study to a search space and records.

One decision: everything is read again from the study's trials at every proposal. So a study can continue in another
process, and the user declares no search space besides the objective function.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nasdet.space import Constraint, Params, SearchSpace, parse_space
from nasdet.trial import Rung, State, TrialRecord

Result = tuple[int, dict[str, float], float]
"""Epochs, values and time of reporting."""
CURVE, PAUSED = "nasdet:curve", "nasdet:paused"
"""User attributes of a trial: its results so far as [epochs, values, time], and whether it is paused."""


def report(trial: optuna.Trial, epochs: int, values: Sequence[float], *, pause: bool = False) -> None:
    """Report the values of a trial before its full budget; Optuna's own `report` does not support several objectives.

    Args:
        trial: from `study.ask`, `FreezeThawSampler.thaw`, or the argument of the objective function.
        epochs: cumulative epochs trained.
        values: one for each objective, in the study's order.
        pause: whether the trial is paused until `FreezeThawSampler.thaw` returns it.
    """
    if len(values) != len(trial.study.directions) or not all(math.isfinite(v) for v in values):
        raise ValueError(f"one finite value for each of {len(trial.study.directions)} objectives, got {list(values)}")
    curve = [*trial.user_attrs.get(CURVE, []), [epochs, [float(v) for v in values], time.time()]]
    trial.set_user_attr(CURVE, curve)
    trial.set_user_attr(PAUSED, pause)


def space_of(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection], rungs: Sequence[int]
) -> SearchSpace | None:
    """The search space that the trials chose from, with its conditions; None before any choice.

    A parameter that some trials lack is taken to exist under a condition on a more common parameter: under those values
    of it with which the first was seen, provided that no trial without the first has any of them.
    """
    distributions = distributions_of(trials)
    if not distributions:
        return None
    params = [_params(t, distributions) for t in trials if t.params]
    names = ["max" if d == StudyDirection.MAXIMIZE else "min" for d in directions]
    space = parse_space(
        {
            "name": "optuna",
            "space": {n: {**_entry(d), "when": _condition(n, distributions, params)} for n, d in distributions.items()},
            "objectives": [{"name": f"objective_{i}", "direction": d} for i, d in enumerate(names)],
            "budget": {"epochs": rungs[-1], "rungs": list(rungs)},
        },
        function=True,
    )
    limits = dict.fromkeys(name for t in trials for name in t.constraints)
    return dataclasses.replace(space, constraints=tuple(Constraint(_limit(name), "<=", 0.0) for name in limits))


def distributions_of(trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """The distribution of every parameter that has more than one value, as in the newest trial that has it."""
    return {n: d for t in trials for n, d in t.distributions.items() if not d.single()}


def to_space(distribution: BaseDistribution, value: Any) -> Any:
    """The value of an Optuna trial in the space of `space_of`: the number of the step for a stepped float, the index as
    text for a category that is no plain value. A value that the distribution no longer has is kept; no domain contains
    it."""
    match distribution:
        case FloatDistribution(low=low, step=float(step)):
            return round((value - low) / step)
        case CategoricalDistribution(choices=choices) if not _plain(choices):
            return str(choices.index(value))
    return value


def from_space(distribution: BaseDistribution, value: Any) -> Any:
    """Inverse of `to_space`."""
    match distribution:
        case FloatDistribution(low=low, high=high, step=float(step)):
            return min(low + value * step, high)
        case CategoricalDistribution(choices=choices) if not _plain(choices):
            return choices[int(value)]
    return value


def records_of(trials: Sequence[FrozenTrial], full: int) -> list[TrialRecord]:
    """Records of the trials that chose something. A trial that violates a constraint is "stopped" and not "complete",
    so that it is on no front, but models learn from it.

    Args:
        trials: of a study, in order.
        full: epochs of a complete trial.
    """
    distributions = distributions_of(trials)
    results = {t.number: _results(t, full) for t in trials if t.params}
    ends = sorted((moment, number, epochs) for number, curve in results.items() for epochs, _, moment in curve)
    order = {(number, epochs): place for place, (_, number, epochs) in enumerate(ends)}
    return [_record(t, _params(t, distributions), results[t.number], order) for t in trials if t.params]


def _params(trial: FrozenTrial, distributions: Mapping[str, BaseDistribution]) -> Params:
    return {n: to_space(distributions[n], v) for n, v in trial.params.items() if n in distributions}


def _record(
    trial: FrozenTrial, params: Params, results: Sequence[Result], order: Mapping[tuple[int, int], int]
) -> TrialRecord:
    rungs = tuple(Rung(epochs, values, order[trial.number, epochs]) for epochs, values, _ in results)
    last = rungs[-1] if rungs else Rung(0, {})
    name, state = str(trial.number), _state(trial)
    return TrialRecord(name, trial.number, state, params, values=last.values, epochs=last.epochs, rungs=rungs)


def _results(trial: FrozenTrial, full: int) -> list[Result]:
    """The trial's results by epochs, without those that are not finite."""
    curve = {int(epochs): (values, moment) for epochs, values, moment in trial.user_attrs.get(CURVE, [])}
    if trial.state == TrialState.COMPLETE and trial.datetime_complete is not None:
        curve[full] = (trial.values, trial.datetime_complete.timestamp())
    limits = {_limit(name): value for name, value in trial.constraints.items()}
    return [
        (epochs, {f"objective_{i}": float(v) for i, v in enumerate(values)} | limits, moment)
        for epochs, (values, moment) in sorted(curve.items())
        if all(map(math.isfinite, values))
    ]


def _state(trial: FrozenTrial) -> State:
    if trial.state == TrialState.COMPLETE and not all(map(math.isfinite, trial.values)):
        return "failed"
    if trial.state == TrialState.COMPLETE:
        return "stopped" if any(v > 0 for v in trial.constraints.values()) else "complete"
    if trial.state == TrialState.RUNNING:
        return "paused" if trial.user_attrs.get(PAUSED) else "running"
    return "failed" if trial.state == TrialState.FAIL else "stopped"


def _limit(name: str) -> str:
    return f"constraint {name}"


def _entry(distribution: BaseDistribution) -> dict[str, Any]:
    """The distribution as an entry of `space:` in a search-space file."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            return {"kind": "choice", "values": list(choices) if _plain(choices) else [*map(str, range(len(choices)))]}
        case IntDistribution(low=low, high=high, log=log, step=step):
            return {"kind": "int", "low": low, "high": high, "log": log, "step": step}
        case FloatDistribution(low=low, high=high, step=float(step)):
            return {"kind": "int", "low": 0, "high": round((high - low) / step)}
        case FloatDistribution(low=low, high=high, log=log):
            return {"kind": "float", "low": low, "high": high, "log": log}
    raise ValueError(f"{distribution} is not known")


def _plain(choices: Sequence[Any]) -> bool:
    """Whether all categories can be values of a search space as they are."""
    return all(c is None or isinstance(c, bool | int | float | str) for c in choices)


def _condition(
    name: str, distributions: Mapping[str, BaseDistribution], trials: Sequence[Params]
) -> dict[str, list[Any]]:
    """The condition under which a parameter exists, {other parameter: values}; empty if it always does, or if no other
    parameter explains it."""
    having = [t for t in trials if name in t]
    without = [t for t in trials if name not in t]
    count = {n: sum(n in t for t in trials) for n in distributions}
    # The rarest of the more common parameters first: it is the nearest ancestor where conditions are nested.
    for other in sorted((n for n in distributions if count[n] > len(having)), key=lambda n: count[n]):
        if not without or isinstance(distributions[other], FloatDistribution):
            continue
        values = {t.get(other) for t in having}
        allowed = sorted((v for v in values if v is not None and _offers(distributions[other], v)), key=str)
        if allowed and None not in values and values.isdisjoint(t[other] for t in without if other in t):
            return {other: allowed}
    return {}


def _offers(distribution: BaseDistribution, value: Any) -> bool:
    """Whether the newest distribution still has the value: a range of integers may be narrowed, categories may not."""
    if not isinstance(distribution, IntDistribution):
        return True
    return value in range(distribution.low, distribution.high + 1, distribution.step)
