"""The study's reference point. One decision: it is fixed once, by a stated rule, before anything is compared by
hypervolume, and stored, so that hypervolumes of one study can be compared for good."""

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
"""Values that are 0 at worst."""
SAMPLES = 16
"""Random architectures that fix the reference point; so many times as many where building them takes no time."""
MANY = 64
RESULTS = 8
"""First results of one's own function that fix the reference point."""


class Reference:
    """0 for ap; for a cost the bound of its constraint, else the largest value among 16 random architectures of the
    space, drawn by the study's seed; for any other value of one's own function a little worse than the worst of the
    first 8 results, outliers cut off.

    Args:
        store: the study; the point is kept in its `config`.
        build: flat parameters -> `Candidate`.
        fast: whether `build` may be called thousands of times.
    """

    def __init__(self, store: Store, build: Build, *, fast: bool) -> None:
        self._store, self._space, self._build = store, store.space, build
        self._count = SAMPLES * (MANY if fast else 1)

    @property
    def point(self) -> list[float]:
        """In the order of the objectives, in their own direction; empty before it is fixed."""
        return [float(v) for v in self._store.config.get("reference_point") or []]

    @property
    def given(self) -> bool:
        """Whether it is what counts, and not only where first results happened to lie."""
        return not self._space.function or bool(self._store.config.get("reference_given"))

    def settle(self) -> None:
        """Fix the point by the first results, however few there are: no more candidates will start."""
        self.fix({}, least=1)

    def fix(self, measured: dict[str, float], *, least: int = RESULTS) -> dict[str, Any] | None:
        """As `Engine.fix_reference`; `least`: results that have to be there where it depends on them."""
        if self.point:
            return None
        largest = max(self._samples, key=lambda c: c.costs.get("gflops", 0.0))
        point: list[float] = []
        for objective in self._space.objectives:
            value = self._known(objective, measured)
            if value is None and largest.spec is not None:
                return largest.spec
            value = self._by_results(objective, least) if value is None else value
            if value is None:
                return None
            point.append(value)
        self._store.save_config(reference_point=point)
        return None

    def _known(self, objective: Objective, measured: dict[str, float]) -> float | None:
        """Without any training, if that is possible."""
        if objective.name in AP:
            return 0.0
        _, bound = bounds(self._space, objective.name)
        if bound < float("inf"):
            return bound
        values = [c.costs[objective.name] for c in self._samples if objective.name in c.costs]
        values += [measured[objective.name]] if objective.name in measured else []
        return (min(values) if objective.direction == "max" else max(values)) if values else None

    def _by_results(self, objective: Objective, least: int) -> float | None:
        """None while there are too few of them."""
        told = sorted((r for r in self._store.records() if r.rungs), key=lambda r: r.rungs[0].told)[:RESULTS]
        if len(told) < min(least, self._space.budget.trials or least):
            return None
        return _beyond([r.rungs[0].values[objective.name] for r in told], objective.direction)

    @functools.cached_property
    def _samples(self) -> list[Candidate]:
        rng = random.Random(self._space.budget.seed)
        made = [self._build(self._space.sample(rng)) for _ in range(self._count)]
        good = [c for c in made if not c.infeasible and (c.costs or c.spec is None)]
        if not good:
            raise InputError(
                f"none of {self._count} random candidates can be built: {made[0].infeasible}",
                where=self._space.name,
                remedy="see nasdet check",
            )
        return good


def _beyond(values: Sequence[float], direction: str) -> float:
    """The worst value, at most three times as far from the median as the best, and a tenth of the range on top (of the
    value where all are equal)."""
    costs = np.array(values) * (-1.0 if direction == "max" else 1.0)
    best, middle = float(costs.min()), float(np.median(costs))
    worst = min(float(costs.max()), middle + 3 * (middle - best)) if middle > best else float(costs.max())
    cost = worst + 0.1 * ((worst - best) or abs(worst) or 1.0)
    return -cost if direction == "max" else cost
