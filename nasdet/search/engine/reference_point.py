"""The study's reference point, from which hypervolumes are measured.

One decision: it is fixed once, by a stated rule, before anything is compared by hypervolume, and stored, so that all
hypervolumes of one study are comparable.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from nasdet.errors import InputError
from nasdet.search.engine.constraints import bounds
from nasdet.search.engine.jobs import Build, Candidate
from nasdet.search.records.store import Store
from nasdet.space import Objective

AP = ("ap", "ap50")
"""Values whose worst is 0."""
SAMPLES = 16
"""Random architectures that fix the reference point."""
MANY = 64
"""Factor on `SAMPLES` where building an architecture is cheap."""
RESULTS = 8
"""First results of a user's own function that fix the reference point."""


class ReferencePoint:
    """The rule, for each objective: 0 for ap and ap50. For a cost the bound of its constraint, else the largest value
    among 16 random architectures of the space, drawn by the study's seed. For any other value of a user's own function
    a little worse than the worst of the first 8 results, outliers cut off.

    Args:
        store: the study; the point is stored in its `config`.
        build: flat parameters -> `Candidate`.
        cheap_build: whether `build` may be called thousands of times.
    """

    def __init__(self, store: Store, build: Build, *, cheap_build: bool) -> None:
        self._store, self._space, self._build = store, store.space, build
        self._count = SAMPLES * (MANY if cheap_build else 1)

    @property
    def point(self) -> list[float]:
        """Values in the order of the objectives, in their own direction; empty before the point is fixed."""
        return list(self._store.config.reference_point or ())

    @property
    def is_known(self) -> bool:
        """True if the user gave the point or it follows from known bounds, False if it was estimated from the first
        results."""
        return not self._space.function or self._store.config.reference_given

    def settle(self) -> None:
        """Fix the point by the results so far, however few: no more trials will start."""
        self.fix({}, least=1)

    def fix(self, measured: dict[str, float], *, least: int = RESULTS) -> dict[str, Any] | None:
        """As `Engine.fix_reference`; a point that depends on results waits for `least` of them."""
        if self.point:
            return None
        largest = max(self._samples, key=lambda c: c.costs.get("gflops", 0.0))
        point: list[float] = []
        for objective in self._space.objectives:
            value = self._without_training(objective, measured)
            if value is None and largest.spec is not None:
                return largest.spec
            value = self._by_results(objective, least) if value is None else value
            if value is None:
                return None
            point.append(value)
        self._store.save_config(reference_point=tuple(point))
        return None

    def _without_training(self, objective: Objective, measured: dict[str, float]) -> float | None:
        """The objective's reference value, if it is known before any training."""
        if objective.name in AP:
            return 0.0
        _, bound = bounds(self._space, objective.name)
        if bound < float("inf"):
            return bound
        values = [c.costs[objective.name] for c in self._samples if objective.name in c.costs]
        values += [measured[objective.name]] if objective.name in measured else []
        return (min(values) if objective.direction == "max" else max(values)) if values else None

    def _by_results(self, objective: Objective, least: int) -> float | None:
        """The objective's reference value by the first results; None while there are too few."""
        first = sorted((r for r in self._store.records() if r.rungs), key=lambda r: r.rungs[0].told)[:RESULTS]
        if len(first) < min(least, self._space.budget.trials or least):
            return None
        return _slightly_worse([r.rungs[0].values[objective.name] for r in first], objective.direction)

    @functools.cached_property
    def _samples(self) -> list[Candidate]:
        """Random architectures that can be built."""
        rng = random.Random(self._space.budget.seed)
        candidates = [self._build(self._space.sample(rng)) for _ in range(self._count)]
        good = [c for c in candidates if not c.infeasible and (c.costs or c.spec is None)]
        if not good:
            raise InputError(
                f"none of {self._count} random candidates can be built: {candidates[0].infeasible}",
                where=self._space.name,
                remedy="see nasdet check",
            )
        return good


def _slightly_worse(values: Sequence[float], direction: str) -> float:
    """The worst value plus a tenth of the range, or a tenth of the value where all are equal. An outlier is first moved
    to three times the distance between median and best."""
    costs = np.array(values) * (-1.0 if direction == "max" else 1.0)
    best, middle = float(costs.min()), float(np.median(costs))
    worst = min(float(costs.max()), middle + 3 * (middle - best)) if middle > best else float(costs.max())
    cost = worst + 0.1 * ((worst - best) or abs(worst) or 1.0)
    return -cost if direction == "max" else cost
