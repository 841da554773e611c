"""An Optuna study as a search space and records. One decision: everything is read from its trials anew, so that a study
goes on in another process, and a sampler is told nothing that the objective function says already."""

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
"""Epochs, values and time."""
CURVE, PAUSED = "nasdet:curve", "nasdet:paused"
"""User attributes of a trial: its results so far as [epochs, values, time], and whether it waits to be thawed."""


def report(trial: optuna.Trial, epochs: int, values: Sequence[float], *, pause: bool = False) -> None:
    """Tell what a trial came to before its full budget; Optuna's own `report` takes no trial of several objectives.

    Args:
        trial: as `study.ask` or `FreezeThawSampler.thaw` gave it, or the objective function's.
        epochs: trained so far.
        values: one for each objective, in the study's order.
        pause: whether the trial stops here until it is thawed.
    """
    if len(values) != len(trial.study.directions) or not all(math.isfinite(v) for v in values):
        raise ValueError(f"one finite value for each of {len(trial.study.directions)} objectives, got {list(values)}")
    curve = [*trial.user_attrs.get(CURVE, []), [epochs, [float(v) for v in values], time.time()]]
    trial.set_user_attr(CURVE, curve)
    trial.set_user_attr(PAUSED, pause)


def space_of(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection], rungs: Sequence[int]
) -> SearchSpace | None:
    """What the trials chose from, conditions included; None if they chose nothing yet.

    A parameter that some trials lack exists under those values of a more common one with which it was seen, where those
    without it had none of them.
    """
    distributions = distributions_of(trials)
    if not distributions:
        return None
    shown = [_params(t, distributions) for t in trials if t.params]
    directed = ["max" if d == StudyDirection.MAXIMIZE else "min" for d in directions]
    space = parse_space(
        {
            "name": "optuna",
            "space": {n: {**_entry(d), "when": _condition(n, distributions, shown)} for n, d in distributions.items()},
            "objectives": [{"name": f"objective_{i}", "direction": d} for i, d in enumerate(directed)],
            "budget": {"epochs": rungs[-1], "rungs": list(rungs)},
        },
        function=True,
    )
    limits = dict.fromkeys(name for t in trials for name in t.constraints)
    return dataclasses.replace(space, constraints=tuple(Constraint(_limit(name), "<=", 0.0) for name in limits))


def distributions_of(trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Of every parameter with a choice, as the newest trial that has it states it."""
    return {n: d for t in trials for n, d in t.distributions.items() if not d.single()}


def to_space(distribution: BaseDistribution, value: Any) -> Any:
    """A value of an Optuna trial as `space_of` has it: the step's number of a stepped one, the place of a category that
    is no plain value; what the distribution doesn't have stays, and is in no domain."""
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
    """The trials that chose something; one that broke a constraint is no complete one, but is learnt from.

    Args:
        trials: of a study, in order.
        full: the epochs behind the values of a complete trial.
    """
    distributions = distributions_of(trials)
    results = {t.number: _results(t, full) for t in trials if t.params}
    ends = sorted((moment, number, epochs) for number, curve in results.items() for epochs, _, moment in curve)
    told = {(number, epochs): place for place, (_, number, epochs) in enumerate(ends)}
    return [_record(t, _params(t, distributions), results[t.number], told) for t in trials if t.params]


def _params(trial: FrozenTrial, distributions: Mapping[str, BaseDistribution]) -> Params:
    return {n: to_space(distributions[n], v) for n, v in trial.params.items() if n in distributions}


def _record(
    trial: FrozenTrial, params: Params, results: Sequence[Result], told: Mapping[tuple[int, int], int]
) -> TrialRecord:
    rungs = tuple(Rung(epochs, values, told[trial.number, epochs]) for epochs, values, _ in results)
    last = rungs[-1] if rungs else Rung(0, {})
    name, state = str(trial.number), _state(trial)
    return TrialRecord(name, trial.number, state, params, values=last.values, epochs=last.epochs, rungs=rungs)


def _results(trial: FrozenTrial, full: int) -> list[Result]:
    """By epochs; those that are not finite tell a model nothing."""
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
    """The distribution as an entry of `space:`."""
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
    """Whether a space can have the categories themselves as values."""
    return all(c is None or isinstance(c, bool | int | float | str) for c in choices)


def _condition(
    name: str, distributions: Mapping[str, BaseDistribution], trials: Sequence[Params]
) -> dict[str, list[Any]]:
    """The values of another parameter under which this one exists; empty if it always does, or none explains it."""
    having = [t for t in trials if name in t]
    lacking = [t for t in trials if name not in t]
    count = {n: sum(n in t for t in trials) for n in distributions}
    for other in sorted((n for n in distributions if count[n] > len(having)), key=lambda n: count[n]):
        if not lacking or isinstance(distributions[other], FloatDistribution):
            continue
        values = {t.get(other) for t in having}
        left = sorted((v for v in values if v is not None and _holds(distributions[other], v)), key=str)
        if left and None not in values and values.isdisjoint(t[other] for t in lacking if other in t):
            return {other: left}
    return {}


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a whole number is one of those that are asked for by now; categories stay."""
    if not isinstance(distribution, IntDistribution):
        return True
    return value in range(distribution.low, distribution.high + 1, distribution.step)
