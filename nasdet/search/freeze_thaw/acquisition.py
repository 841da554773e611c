"""The acquisition function of freeze-thaw: expected hypervolume improvement at the full budget per remaining cost.

One decision: running trials count as if they had come out as predicted, so that workers side by side look elsewhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nasdet.pareto import non_dominated
from nasdet.search.engine.jobs import Build, Candidate
from nasdet.search.freeze_thaw.encoding import Encoder
from nasdet.search.freeze_thaw.hypervolume_improvement import Boxes, decompose, expected_improvement
from nasdet.search.freeze_thaw.learning_curves import CostModel, Surrogates
from nasdet.search.freeze_thaw.observations import MAX_OBSERVATIONS, RecordTable
from nasdet.space import Params, SearchSpace
from nasdet.space.schema import COSTS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_DESIGN, MIN_DESIGN = 16, 4
"""Trials of the initial design: a quarter of `budget.trials`, but at least and at most these."""


@dataclasses.dataclass(frozen=True)
class SpaceContext:
    """What all decisions on one space share.

    Attributes:
        space: the search space.
        encoder: of the space.
        surrogates: makes its models.
        build: flat parameters -> `Candidate`.
        cached_build: the same, with a cache.
        cheap_build: whether `build` may be called thousands of times per decision.
    """

    space: SearchSpace
    encoder: Encoder
    surrogates: Surrogates
    build: Build
    cached_build: Build
    cheap_build: bool

    def signs(self) -> Floats:
        """`(D,)` factors of the objectives that make smaller better."""
        return np.array([-1.0 if o.direction == "max" else 1.0 for o in self.space.objectives])


class Acquisition:
    """Models, front and acquisition values at one moment of a study.

    Args:
        context: of the space.
        table: the study's records.
        example: parameters of any candidate; which costs `build` knows of it, it knows of all.
        corner: `(D,)` reference point, smaller is better.
        corner_is_known: False if the reference point was estimated from first results; the models may then tighten it.
        rng: for the values of parameters that do not exist.
    """

    def __init__(
        self,
        context: SpaceContext,
        table: RecordTable,
        example: Params,
        corner: Floats,
        corner_is_known: bool,
        rng: np.random.Generator,
    ) -> None:
        self._context, self._table, self._signs = context, table, context.signs()
        self.space, self.encoder, self.surrogates = context.space, context.encoder, context.surrogates
        self.rungs = self.space.rungs()
        self.rows = self.encoder.filled(table.rows, rng)
        # Objectives either depend on training (their learning curves are modelled) or are costs, which `build` computes
        # or a model learns from those of earlier candidates.
        built = context.cached_build(example).costs if context.cheap_build else {}
        costs = self._cost_names(built)
        objectives = self.space.objectives
        self.curves = {o.name: self.surrogates.learning_curves(table, o) for o in objectives if o.name not in costs}
        learnt = [n for n, v in table.values.items() if n in costs and n not in built and np.isfinite(v).any()]
        signed = {c.name for c in self.space.constraints if c.bound <= 0}
        self.costs = {n: self.surrogates.cost(table, table.values[n], signed=n in signed) for n in learnt}
        self._pace = self._pace_model() if self.space.budget.time_limit else None
        self.corner = corner if corner_is_known else self._tightened(corner)
        self.boxes = self._boxes()

    def parents(self) -> Floats:
        """Rows worth changing a little: of the records at the highest budget reached, those that no other dominates."""
        trained = (self._table.epochs > 0) & (self._table.states != "failed")
        if not trained.any():
            return self.rows[:1]
        highest = np.flatnonzero(trained & (self._table.epochs == self._table.epochs[trained].max()))
        values = self._last_values(highest)
        return np.asarray(self.rows[highest[non_dominated(values, ["min"] * values.shape[1])]])

    def unknown(self, rows: Floats, *, or_all: bool = False) -> Floats:
        """Rows without those of candidates that were proposed before; with `or_all` all of them if none is left."""
        kept = [i for i, key in enumerate(self._table.keys(rows)) if key not in self._table.known]
        return rows if or_all and not kept else rows[kept]

    def of_new(self, rows: Floats, *, optimism: float | None = None) -> Floats:
        """Acquisition value `(N,)` of new candidates: expected improvement times the probability of being feasible,
        divided by the cost of a full training. With `optimism` the improvement is that of a value which is better than
        predicted by that many deviations."""
        mean, deviation, feasible = self._predict(rows)
        if optimism is not None:
            mean, deviation = mean - optimism * deviation, np.zeros_like(deviation)
        improvement = expected_improvement(self.boxes, mean, deviation)
        return improvement * feasible / self._remaining_cost(self.encoder.features(rows))

    def of_new_with_built_costs(self, rows: Floats, candidates: Sequence[Params]) -> Floats:
        """As `of_new`, with costs computed by `build` instead of predicted; -1 for what must not be trained."""
        mean, deviation, feasible = self._predict(rows)
        for k, params in enumerate(candidates):
            built = self._context.cached_build(params)
            values = self._signed_values(built.costs)
            known = np.isfinite(values)
            mean[k, known], deviation[k, known] = values[known], 0.0
            feasible[k] = feasible[k] if self._is_feasible(built) else -1.0
        improvement = expected_improvement(self.boxes, mean, deviation)
        score = improvement * feasible / self._remaining_cost(self.encoder.features(rows))
        return np.asarray(np.where(feasible < 0, -1.0, score))

    def paused(self) -> Ints:
        """Numbers of the paused trials that a model has seen; in a long study those are the newest."""
        paused = np.flatnonzero(self._table.states == "paused")
        seen = paused[np.isin(paused, [i for curve in self.curves.values() for i in curve.at.trial])]
        return (seen if len(seen) else paused)[-MAX_OBSERVATIONS:]

    def of_paused(self, trials: Sequence[int]) -> tuple[Floats, Floats]:
        """Expected improvement `(M,)` of paused trials, and the same divided by the cost of the rest of their
        training."""
        if not len(trials):
            return np.zeros(0), np.zeros(0)
        at = np.array(trials)
        features = self._table.features[at]
        mean, deviation = self._last_values(at), np.zeros((len(at), len(self.corner)))
        for d, objective in enumerate(self.space.objectives):
            if objective.name in self.curves:
                final = self.surrogates.final(features, at)
                mean[:, d], deviation[:, d] = self.curves[objective.name].predict(final)
        improvement = expected_improvement(self.boxes, mean, deviation)
        return improvement, np.asarray(improvement / self._remaining_cost(features, self._table.epochs[at]))

    def in_random_order(self, rows: Floats, rng: np.random.Generator) -> Floats:
        """Random rows as they are. Where time is limited, in an order that puts a candidate of half the cost before
        another twice as often as behind it, so that random candidates do not take most of the time."""
        if not self.space.budget.time_limit:
            return rows
        # Of two exponential variables with rates a and b the first is smaller with probability a / (a + b).
        turns = rng.exponential(size=len(rows)) * self._remaining_cost(self.encoder.features(rows))
        return np.asarray(rows[np.argsort(turns)])

    def _remaining_cost(self, features: Floats, epochs: Ints | None = None) -> Floats:
        """Cost `(N,)` of training from `epochs` (0 if None) to the full budget: epochs at full image size, or seconds
        where time is limited."""
        left = self.space.work(self.rungs[-1]) - self.space.work(np.zeros(len(features)) if epochs is None else epochs)
        return np.asarray(left * self._pace(features)[0] if self._pace is not None else left, dtype=np.float64)

    def _predict(self, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """Means and deviations `(N, D)` at the full budget, smaller is better, and the probability `(N,)` of being
        feasible."""
        features = self.encoder.features(rows)
        shape = len(rows), len(self.space.objectives)
        mean, deviation, feasible = np.empty(shape), np.zeros(shape), np.ones(len(rows))
        final = self.surrogates.final(features, np.full(len(rows), -1))
        costs = {name: model(features) for name, model in self.costs.items()}
        for d, objective in enumerate(self.space.objectives):
            if objective.name in self.curves:
                mean[:, d], deviation[:, d] = self.curves[objective.name].predict(final)
            elif objective.name in costs:
                cost_mean, cost_deviation = costs[objective.name]
                mean[:, d], deviation[:, d] = self._signs[d] * cost_mean, cost_deviation
        if self._context.cheap_build:
            built = [self._context.build(params) for params in self.encoder.all_params(rows)]
            values = np.array([self._signed_values(b.costs) for b in built])
            mean = np.where(np.isfinite(values), values, mean)
            feasible = np.array([self._is_feasible(b) for b in built])
        for c in self.space.constraints:
            if c.name in costs:
                # The probability that a normal cost keeps its bound.
                cost_mean, cost_deviation = costs[c.name]
                z = (c.bound - cost_mean) / np.maximum(cost_deviation, 1e-12)
                feasible = feasible * ndtr(z if c.op.startswith("<") else -z)
        return mean, deviation, feasible

    def _is_feasible(self, built: Candidate) -> float:
        """1 if the candidate may be trained and its costs keep their bounds, else 0."""
        kept = all(c.holds(built.costs) for c in self.space.constraints if c.name in built.costs)
        return float(kept and not built.infeasible)

    def _cost_names(self, built: Mapping[str, float]) -> set[str]:
        """Objectives and constrained values that do not depend on training; constrained ones never do."""
        certain = {*built, *(c.name for c in self.space.constraints), *(() if self.space.function else COSTS)}
        return {n for n in self._table.values if n in certain or self._table.is_static(n)}

    def _pace_model(self) -> CostModel | None:
        """Features -> seconds per epoch at full image size; None while fewer than four trials tell."""
        epochs, seconds = self._table.epochs, self._table.seconds
        pace = np.where((epochs > 0) & (seconds > 0), seconds / np.maximum(self.space.work(epochs), 1e-9), np.nan)
        return self.surrogates.cost(self._table, pace) if np.isfinite(pace).sum() >= 4 else None

    def _tightened(self, corner: Floats) -> Floats:
        """The reference point, moved to the worst prediction for the first trials at full budget where that is
        better."""
        first = np.flatnonzero(self._table.epochs > 0)[:MAX_DESIGN]
        corner = corner.copy()
        for d, objective in enumerate(self.space.objectives):
            if objective.name in self.curves:
                final = self.surrogates.final(self._table.features[first], first)
                corner[d] = min(corner[d], float(self.curves[objective.name].predict(final)[0].max()))
        return corner

    def _boxes(self) -> Boxes:
        """The region that neither complete trials dominate nor running ones, if they come out as predicted."""
        points = self._last_values(np.flatnonzero(self._table.states == "complete"))
        running = np.flatnonzero(self._table.states == "running")
        if len(running):
            points = np.concatenate([points, self._predicted_of_running(running)])
        return decompose(points[np.isfinite(points).all(axis=1)], self.corner)

    def _predicted_of_running(self, running: Ints) -> Floats:
        """Values `(R, D)` of running trials at full budget; costs that are known already are kept."""
        values = self._last_values(running)
        for d, objective in enumerate(self.space.objectives):
            if objective.name in self.curves:
                values[:, d] = self.curves[objective.name].fantasies
        if np.isfinite(values).all():
            return values
        return np.where(np.isfinite(values), values, self._predict(self.rows[running])[0])

    def _last_values(self, trials: Ints) -> Floats:
        """Last objective values `(M, D)` of trials, smaller is better; NaN where there is none."""
        columns = [self._table.values[o.name][trials] for o in self.space.objectives]
        return np.asarray(np.stack(columns, axis=1) * self._signs)

    def _signed_values(self, values: Mapping[str, Any]) -> Floats:
        """`(D,)` objective values, smaller is better, NaN where there is none."""
        row = [float(values.get(o.name, np.nan)) for o in self.space.objectives]
        return np.asarray(np.array(row) * self._signs)
