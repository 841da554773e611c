"""What a freeze-thaw decision expects: predictions in full, the front with what is under way, and gains per epoch. One
decision: running candidates count as if they had come out as expected, so that workers side by side look elsewhere."""

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
from nasdet.search.freeze_thaw.hypervolume_improvement import Boxes, boxes, expected_improvement
from nasdet.search.freeze_thaw.learning_curves import CostModel, Forecasts
from nasdet.search.freeze_thaw.observations import MOST
from nasdet.search.freeze_thaw.table import Table
from nasdet.space import Params, SearchSpace
from nasdet.space.schema import COSTS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DESIGN = 16
"""Candidates of the initial design, at most; a quarter of `budget.trials` where that is less, at least `LEAST`."""
LEAST = 4


@dataclasses.dataclass(frozen=True)
class Known:
    """What decisions of one space share.

    Attributes:
        space: what is searched.
        encoder: of the space.
        forecasts: its models.
        build: flat parameters -> `Candidate`.
        built: the same, remembered.
        exact: whether `build` is fast enough for thousands of calls a second.
    """

    space: SearchSpace
    encoder: Encoder
    forecasts: Forecasts
    build: Build
    built: Build
    exact: bool

    def signs(self) -> Floats:
        """`(D,)` that make smaller better."""
        return np.array([-1.0 if o.direction == "max" else 1.0 for o in self.space.objectives])


class Outlook:
    """Models, front and gains at one moment.

    Args:
        known: of the space.
        table: the records.
        first: parameters of the first record.
        corner: `(D,)` reference point, smaller is better.
        given: whether it is what counts; else the model may bring it closer.
        rng: for the rows of parameters that do not exist.
    """

    def __init__(
        self, known: Known, table: Table, first: Params, corner: Floats, given: bool, rng: np.random.Generator
    ) -> None:
        self._known, self._table, self._signs = known, table, known.signs()
        self.space, self.encoder, self.forecasts = known.space, known.encoder, known.forecasts
        self.rungs = self.space.rungs()
        self.rows = self.encoder.filled(table.rows, rng)
        built = known.built(first).costs if known.exact else {}
        costs = self._cost_names(built)
        self.curves = {o.name: self.forecasts.curve(table, o) for o in self.space.objectives if o.name not in costs}
        learnt = [n for n, v in table.values.items() if n in costs and n not in built and np.isfinite(v).any()]
        signed = {c.name for c in self.space.constraints if c.bound <= 0}
        self.costs = {n: self.forecasts.cost(table, table.values[n], signed=n in signed) for n in learnt}
        self._pace = self._pace_model() if self.space.budget.time_limit else None
        self.corner = corner if given else self._closer(corner)
        self.cut = self._cut()

    def base(self) -> Floats:
        """Rows of the non-dominated ones at the highest rung that has some, and of the front."""
        seen = (self._table.epochs > 0) & (self._table.states != "failed")
        if not seen.any():
            return self.rows[:1]
        best = np.flatnonzero(seen & (self._table.epochs == self._table.epochs[seen].max()))
        values = self._last(best)
        return np.asarray(self.rows[best[non_dominated(values, ["min"] * values.shape[1])]])

    def fresh(self, rows: Floats, *, or_all: bool = False) -> Floats:
        """Rows without those of known candidates; with `or_all` all of them where none is left."""
        kept = [i for i, key in enumerate(self._table.keys(rows)) if key not in self._table.known]
        return rows if or_all and not kept else rows[kept]

    def of_new(self, rows: Floats, *, optimism: float | None = None) -> Floats:
        """Expected improvement per epoch of new candidates; with `optimism`, that of the value so many deviations
        better than expected."""
        mean, deviation, feasible = self._predict(rows)
        if optimism is not None:
            mean, deviation = mean - optimism * deviation, np.zeros_like(deviation)
        return expected_improvement(self.cut, mean, deviation) * feasible / self._price(self.encoder.features(rows))

    def paused(self) -> Ints:
        """Positions of the paused records that a model has seen; in a long study those are the newest."""
        paused = np.flatnonzero(self._table.states == "paused")
        seen = paused[np.isin(paused, [i for curve in self.curves.values() for i in curve.at.who])]
        return (seen if len(seen) else paused)[-MOST:]

    def of_paused(self, which: Sequence[int]) -> tuple[Floats, Floats]:
        """Expected improvement of paused records, and the same per epoch that is left."""
        if not len(which):
            return np.zeros(0), np.zeros(0)
        at = np.array(which)
        features = self._table.features[at]
        mean, deviation = self._last(at), np.zeros((len(at), len(self.corner)))
        for d, objective in enumerate(self.space.objectives):
            if objective.name in self.curves:
                mean[:, d], deviation[:, d] = self.curves[objective.name].predict(self.forecasts.final(features, at))
        gain = expected_improvement(self.cut, mean, deviation)
        return gain, np.asarray(gain / self._price(features, self._table.epochs[at]))

    def exactly(self, rows: Floats, options: Sequence[Params]) -> Floats:
        """As `of_new`, with costs computed instead of learnt; -1 for what cannot be built."""
        mean, deviation, feasible = self._predict(rows)
        for k, params in enumerate(options):
            built = self._known.built(params)
            values = self._row(built.costs)
            known = np.isfinite(values)
            mean[k, known], deviation[k, known] = values[known], 0.0
            feasible[k] = feasible[k] if self._feasible(built) else -1.0
        score = expected_improvement(self.cut, mean, deviation)
        return np.asarray(np.where(feasible < 0, -1.0, score * feasible / self._price(self.encoder.features(rows))))

    def shuffled(self, rows: Floats, rng: np.random.Generator) -> Floats:
        """Random rows as they are; where time is limited in an order in which half as costly ones are first twice as
        often, so that random candidates do not take most of the time."""
        if not self.space.budget.time_limit:
            return rows
        turns = rng.exponential(size=len(rows)) * self._price(self.encoder.features(rows))
        return np.asarray(rows[np.argsort(turns)])

    def _price(self, features: Floats, epochs: Ints | None = None) -> Floats:
        """What candidates still cost up to full training: epochs at full size, or seconds where time is limited."""
        left = self.space.work(self.rungs[-1]) - self.space.work(np.zeros(len(features)) if epochs is None else epochs)
        return np.asarray(left * self._pace(features)[0] if self._pace is not None else left, dtype=np.float64)

    def _predict(self, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """Means and deviations `(N, D)` in full, smaller is better, and probability `(N,)` of being feasible."""
        features = self.encoder.features(rows)
        shape = len(rows), len(self.space.objectives)
        mean, deviation, feasible = np.empty(shape), np.zeros(shape), np.ones(len(rows))
        at = self.forecasts.final(features, np.full(len(rows), -1))
        costs = {name: model(features) for name, model in self.costs.items()}
        for d, objective in enumerate(self.space.objectives):
            if objective.name in self.curves:
                mean[:, d], deviation[:, d] = self.curves[objective.name].predict(at)
            elif objective.name in costs:
                value, wide = costs[objective.name]
                mean[:, d], deviation[:, d] = self._signs[d] * value, wide
        if self._known.exact:
            built = [self._known.build(params) for params in self.encoder.all_params(rows)]
            values = np.array([self._row(b.costs) for b in built])
            mean = np.where(np.isfinite(values), values, mean)
            feasible = np.array([self._feasible(b) for b in built])
        for c in self.space.constraints:
            if c.name in costs:
                value, wide = costs[c.name]
                z = (c.bound - value) / np.maximum(wide, 1e-12)
                feasible = feasible * ndtr(z if c.op.startswith("<") else -z)
        return mean, deviation, feasible

    def _feasible(self, built: Candidate) -> float:
        kept = all(c.holds(built.costs) for c in self.space.constraints if c.name in built.costs)
        return float(kept and not built.infeasible)

    def _cost_names(self, built: Mapping[str, float]) -> set[str]:
        """Objectives and constraints that do not depend on training; constraints never do."""
        sure = {*built, *(c.name for c in self.space.constraints), *(() if self.space.function else COSTS)}
        return {n for n in self._table.values if n in sure or self._table.is_static(n)}

    def _pace_model(self) -> CostModel | None:
        """Features -> seconds per epoch at full size."""
        epochs, seconds = self._table.epochs, self._table.seconds
        pace = np.where((epochs > 0) & (seconds > 0), seconds / np.maximum(self.space.work(epochs), 1e-9), np.nan)
        return self.forecasts.cost(self._table, pace) if np.isfinite(pace).sum() >= 4 else None

    def _closer(self, corner: Floats) -> Floats:
        """The reference point, where the model expects the first candidates in full to be better than it."""
        first = np.flatnonzero(self._table.epochs > 0)[:DESIGN]
        corner = corner.copy()
        for d, objective in enumerate(self.space.objectives):
            if objective.name in self.curves:
                at = self.forecasts.final(self._table.features[first], first)
                corner[d] = min(corner[d], float(self.curves[objective.name].predict(at)[0].max()))
        return corner

    def _cut(self) -> Boxes:
        """What the complete ones leave to gain, and the running ones by what is expected of them."""
        points = self._last(np.flatnonzero(self._table.states == "complete"))
        running = np.flatnonzero(self._table.states == "running")
        if len(running):
            points = np.concatenate([points, self._expected(running)])
        return boxes(points[np.isfinite(points).all(axis=1)], self.corner)

    def _expected(self, running: Ints) -> Floats:
        """Values in full `(R, D)` of running records; costs that are known already stand."""
        own = self._last(running)
        for d, objective in enumerate(self.space.objectives):
            if objective.name in self.curves:
                own[:, d] = self.curves[objective.name].values[-len(running) :]  # what `believe` put there
        return own if np.isfinite(own).all() else np.where(np.isfinite(own), own, self._predict(self.rows[running])[0])

    def _last(self, which: Ints) -> Floats:
        """Last objective values `(M, D)` of records, smaller is better; NaN for those that are not there."""
        columns = [self._table.values[o.name][which] for o in self.space.objectives]
        return np.asarray(np.stack(columns, axis=1) * self._signs)

    def _row(self, values: Mapping[str, Any]) -> Floats:
        row = [float(values.get(o.name, np.nan)) for o in self.space.objectives]
        return np.asarray(np.array(row) * self._signs)
