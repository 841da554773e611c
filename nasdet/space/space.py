"""`SearchSpace`: what is searched, for which objectives, within which budget.

It is a frozen, picklable value that is complete by itself (`extends` and `--set` are resolved). Its `to_yaml()` text
loads back to the same value, so that a study folder never depends on the file from which it came.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import re
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasdet.space.domains import Domain, Json, Random, canonical
from nasdet.space.schema import (
    Budget,
    CalibrationConfig,
    DataConfig,
    LatencyConfig,
    Resources,
    RulesConfig,
    SamplerConfig,
    SchedulerConfig,
    StartConfig,
)
from nasdet.space.specs import ProgressiveSpec
from nasdet.space.yaml_document import dump_yaml

Params = dict[str, Json]
"""Flat parameters: dotted path to JSON value."""

_OPERATORS = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}


@dataclasses.dataclass(frozen=True)
class Objective:
    """A value to make as large or as small as possible."""

    name: str
    direction: Literal["max", "min"]


@dataclasses.dataclass(frozen=True)
class Constraint:
    """A bound on a value; units are the value's own (params_m 1e6, gflops 1e9 multiply-adds, latency_ms)."""

    name: str
    op: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a text such as "params_m <= 5"; ValueError if it is not one."""
        match = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*(<=|>=|<|>)\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*", text)
        if not match:
            raise ValueError(f"{text!r} is not a constraint; write for example 'params_m <= 5'")
        return cls(match[1], match[2], float(match[3]))

    def holds(self, values: Mapping[str, float]) -> bool:
        """Whether the named value keeps the bound; KeyError if it is not among `values`."""
        return bool(_OPERATORS[self.op](values[self.name], self.bound))

    def violation(self, values: Mapping[str, float]) -> float:
        """How far the value is beyond the bound, in its own unit; at most 0 where the bound is kept."""
        distance = values[self.name] - self.bound
        return distance if self.op.startswith("<") else -distance

    def __str__(self) -> str:
        return f"{self.name} {self.op} {self.bound:g}"


@dataclasses.dataclass(frozen=True)
class SearchSpace:
    """A parsed search space; make it with `load_space` or `parse_space`.

    Attributes:
        parameters: path to domain; a parameter comes after those that its conditions name.
        conditions: path to {other path: values of the other one under which the first one exists}.
        fixed: nested values that every candidate has.
        points: flat parameters to try first, which may be incomplete.
        function: whether a user's function is searched; paths and objective names are then free.
        raw: the file's content after `extends` and overrides, plain values.
    """

    name: str
    description: str
    data: DataConfig
    fixed: dict[str, Any]
    parameters: dict[str, Domain]
    conditions: dict[str, dict[str, tuple[Json, ...]]]
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    budget: Budget
    sampler: SamplerConfig
    scheduler: SchedulerConfig
    resources: Resources
    latency: LatencyConfig
    rules: RulesConfig
    points: tuple[Params, ...]
    start: StartConfig
    scores: tuple[str, ...]
    calibration: CalibrationConfig | None
    function: bool
    raw: dict[str, Any]

    def is_active(self, name: str, params: Mapping[str, Json]) -> bool:
        """Whether parameter `name` exists, given the values of those its conditions name."""
        for other, allowed in self.conditions.get(name, {}).items():
            if other not in params or canonical(params[other]) not in {canonical(v) for v in allowed}:
                return False
        return True

    def active(self, params: Mapping[str, Json]) -> tuple[str, ...]:
        """The parameters that exist, given values for at least those named in conditions."""
        seen: Params = {}
        for name in self.parameters:
            if self.is_active(name, seen):
                seen[name] = params.get(name)
        return tuple(seen)

    def sample(self, rng: Random, given: Mapping[str, Json] | None = None) -> Params:
        """Random parameters that respect the conditions; `given` values are kept where they are active.

        Args:
            rng: `random.Random` or `numpy.random.Generator`.
            given: values that are not sampled, for example one of `points`.
        """
        params: Params = {}
        for name, domain in self.parameters.items():
            # Drawn also if it is not used, so that a condition never shifts the random numbers of later parameters.
            value = domain.sample(rng)
            if self.is_active(name, params):
                params[name] = given[name] if given and name in given else value
        return params

    def problems(self, params: Mapping[str, Json]) -> list[str]:
        """What is wrong with complete parameters: missing, outside the domain, inactive or unknown ones."""
        active = self.active(params)
        found = [f"{n} is missing" for n in active if n not in params]
        for name, value in params.items():
            if name not in self.parameters:
                found.append(f"{name} is not a parameter of {self.name}")
            elif name not in active:
                found.append(f"{name} does not exist under the other values")
            elif not self.parameters[name].contains(value):
                found.append(f"{name} = {value!r} is outside its domain")
        return found

    def rungs(self) -> tuple[int, ...]:
        """Cumulative epochs at which candidates are compared, the last is the full budget.

        Without `budget.rungs` they are epochs / eta^k, from the highest down while at least 1, at most four.
        """
        if self.scheduler.kind == "full":
            return (self.budget.epochs,)
        if self.budget.rungs:
            return self.budget.rungs
        eta, top = self.scheduler.eta, self.budget.epochs
        if eta == 1:
            return (top,)
        return tuple(sorted({max(1, round(top / eta**k)) for k in range(4) if top / eta**k >= 0.75}))

    @functools.cached_property
    def small_epochs(self) -> tuple[int, float]:
        """How many of a training's epochs have small images, and their share of the canvas's sides, where
        `recipe.progressive` is fixed."""
        given = {} if self.function else self.fixed.get("recipe", {}).get("progressive", {})
        progressive = ProgressiveSpec.model_validate(given)
        return progressive.small(self.budget.epochs), progressive.scale

    def work(self, epochs: ArrayLike) -> NDArray[np.float64]:
        """Cost of the first `epochs` of a training, in epochs at full image size."""
        count, (small, scale) = np.asarray(epochs, dtype=np.float64), self.small_epochs
        return np.asarray(np.minimum(count, small) * scale**2 + np.maximum(count - small, 0.0))

    def with_budget(
        self,
        *,
        trials: int | None = None,
        epochs: int | None = None,
        time_limit: float | None = None,
        seed: int | None = None,
    ) -> Self:
        """The same space with these parts of the budget changed; None keeps one. Rungs scale with the epochs.

        Args:
            trials: candidates to train.
            epochs: full length of one training.
            time_limit: seconds for the whole search.
            seed: of the sampler and of every training.
        """
        given = {"trials": trials, "epochs": epochs, "time_limit": time_limit, "seed": seed}
        changes: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
        if epochs is not None and self.budget.rungs:
            scaled = {max(1, round(r * epochs / self.budget.epochs)) for r in self.budget.rungs}
            changes["rungs"] = sorted(scaled)
        budget = Budget.model_validate({**self.budget.model_dump(), **changes})
        return dataclasses.replace(
            self, budget=budget, raw={**self.raw, "budget": {**self.raw.get("budget", {}), **changes}}
        )

    def with_limits(
        self, *, trials: int | None = None, total_epochs: int | None = None, time_limit: float | None = None
    ) -> Self:
        """The same space with other limits; None: there is no such limit, be there one now or not.

        Args:
            trials: candidates to train.
            total_epochs: of all candidates together.
            time_limit: seconds for the whole search.
        """
        limits = {"trials": trials, "total_epochs": total_epochs, "time_limit": time_limit}
        budget = Budget.model_validate({**self.budget.model_dump(), **limits})
        kept = {key: value for key, value in self.raw.get("budget", {}).items() if key not in limits}
        given = {key: value for key, value in limits.items() if value is not None}
        return dataclasses.replace(self, budget=budget, raw={**self.raw, "budget": {**kept, **given}})

    def to_yaml(self) -> str:
        """The resolved file; loading it gives the same space."""
        return dump_yaml(self.raw)
