"""Which candidate trains next, and which paused one goes on: freeze-thaw by expected hypervolume improvement per
remaining epoch. One decision: a decision is a pure function of (records, seed, number); what is kept between decisions
only saves time.

A Gaussian process over (parameters, log budget) predicts the full-budget value of thousands of new candidates and of
every paused one; costs known before training enter exactly, or are learnt from those of earlier proposals where
computing them takes long. The one with the largest expected improvement per epoch that it still needs goes on by one
rung; now and then a random candidate is started instead, so that a wrong model cannot rule for good.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from threadpoolctl import ThreadpoolController

from nasdet.search.encoding import Encoder
from nasdet.search.improvement import Boxes, boxes, expected_improvement
from nasdet.search.observations import MOST, Observations, bounded, is_static, observe, with_failures
from nasdet.search.process import Inputs, Kernel, Process, fit
from nasdet.space import Objective, Params, SearchSpace
from nasdet.space.domains import canonical
from nasdet.space.pareto import non_dominated
from nasdet.space.schema import COSTS
from nasdet.space.trial import TrialRecord

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DESIGN = 16
"""Candidates of the initial design, at most; a quarter of `budget.trials` where that is less, at least 4."""
PER_PLACE = 20
"""Random candidates for each place of the design; they are sorted by cost and one of each slice is taken."""
RANDOM_SHARE = 0.25
"""Share of decisions that start a random candidate."""
OPTIMISM = 2.0
"""Deviations by which a random candidate may beat what is expected of it."""
DRAWN = 800
"""Random candidates that are looked at."""
NEIGHBOURS = 400
"""Changed members of the best known ones that are looked at."""
ROUNDS, ROUND, BEST = 2, 120, 6
"""Rounds in which neighbours of the best candidates found so far are looked at, how many, of how many."""
EXACT = 3
"""The best new candidates, whose learnt costs are replaced by computed ones before the choice."""
CLIP = 3.0
"""Values worse than their rung's median by more than so many times its distance from the best are cut off there."""
FIT_MOST = 200
"""Observations from which the kernel's parameters are fitted."""


class Buildable(Protocol):
    """What the engine's builder returns, as far as it matters here."""

    @property
    def costs(self) -> dict[str, float]:
        """Values known before training."""

    @property
    def infeasible(self) -> str:
        """Why it must not be trained."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """Train on the paused `trial`, or start a candidate with `params`; neither: nothing is worth it."""

    trial: str | None = None
    params: Params | None = None
    gain: float = math.inf
    """Expected gain in hypervolume once the paused trial is trained in full."""
    skipped: int = 0
    """Random candidates passed over because they could not improve the front even if better than can be expected."""


class FreezeThaw:
    """Decides for one space.

    Args:
        space: what is searched.
        build: flat parameters -> costs known before training.
        exact: whether `build` is fast enough for thousands of calls a second.
    """

    def __init__(self, space: SearchSpace, build: Callable[[Params], Buildable], *, exact: bool) -> None:
        self.space, self.exact = space, exact
        self.encoder, self.rungs = Encoder(space), space.rungs()
        self._build = build
        self._built: dict[str, Buildable] = {}
        self._fitted: dict[bytes, Floats] = {}
        self._rows: list[tuple[Params, Floats]] = []
        self._signs = np.array([-1.0 if o.direction == "max" else 1.0 for o in space.objectives])

    def decide(
        self,
        records: Sequence[TrialRecord],
        *,
        seed: int,
        number: int,
        reference: Sequence[float],
        given: bool = True,
        new: bool = True,
        allowed: Callable[[TrialRecord], bool] = lambda record: True,
    ) -> Decision:
        """What to do next.

        Args:
            records: everything known.
            seed: of the study.
            number: of the proposal, should a candidate be started.
            reference: the study's reference point in the objectives' own directions; empty before it is fixed.
            given: whether the reference point is what counts; else the model may bring it closer: what first results
                are worth in full is only known to the model.
            new: whether a candidate may be started.
            allowed: which paused trials may go on.
        """
        with _threads().limit(limits=1):  # matrices are small: more threads only get in each other's way
            return self._decide(records, seed, number, reference, given, new, allowed)

    def _decide(
        self,
        records: Sequence[TrialRecord],
        seed: int,
        number: int,
        reference: Sequence[float],
        given: bool,
        new: bool,
        allowed: Callable[[TrialRecord], bool],
    ) -> Decision:
        told = sum(len(r.rungs) for r in records)
        rng = np.random.default_rng([seed, number, told])
        paused = [i for i, r in enumerate(records) if r.state == "paused" and allowed(r)]
        if new:
            place = number - len(self.space.points)
            if place < self._design_size():
                return Decision(params=self._design(seed)[place])
            if not reference or told < self._design_size() // 2:
                return Decision(params=self._random(rng))
        if not paused and not new:
            return Decision()
        view = _View(self, records, np.asarray(reference, dtype=np.float64) * self._signs, given, rng)
        return self._best(view, records, paused, rng, new)

    def _design_size(self) -> int:
        trials = self.space.budget.trials
        return DESIGN if trials is None else min(DESIGN, max(4, trials // 4))

    def _design(self, seed: int) -> list[Params]:
        """Random candidates spread over the first known cost, in random order."""
        size = self._design_size()
        rng = np.random.default_rng([seed, size])
        drawn = [self._random(rng) for _ in range(size * (PER_PLACE if self.exact else 1))]
        if not self.exact:
            return drawn
        good = [p for p in drawn if not self._built_of(p).infeasible] or drawn
        name = next((o.name for o in self.space.objectives if o.name in self._built_of(good[0]).costs), None)
        if name is not None:
            good.sort(key=lambda p: self._built_of(p).costs.get(name, 0.0))
        edges = np.linspace(0, len(good), size + 1)
        chosen = [good[min(int(rng.uniform(a, b)), len(good) - 1)] for a, b in itertools.pairwise(edges)]
        return [chosen[i] for i in rng.permutation(size)]

    def _random(self, rng: np.random.Generator) -> Params:
        return self.space.sample(rng)

    def _rows_of(self, records: Sequence[TrialRecord], rng: np.random.Generator) -> Floats:
        """The row of each record; computed once as long as its parameters are the same object."""
        for i, record in enumerate(records):
            if i >= len(self._rows):
                self._rows.append((record.params, self.encoder.row(record.params)))
            elif self._rows[i][0] is not record.params:
                self._rows[i] = (record.params, self.encoder.row(record.params))
        return self.encoder.filled(np.array([row for _, row in self._rows[: len(records)]]), rng)

    def _built_of(self, params: Params) -> Buildable:
        key = canonical(params)
        if key not in self._built:
            if len(self._built) > 20_000:
                self._built.clear()
            self._built[key] = self._build(params)
        return self._built[key]

    def _best(
        self, view: _View, records: Sequence[TrialRecord], paused: list[int], rng: np.random.Generator, new: bool
    ) -> Decision:
        if new and rng.random() < RANDOM_SHARE:
            return self._worth_trying(view, rng)
        scores, choices = view.of_paused(paused), [Decision(trial=records[i].trial) for i in paused]
        gains = view.of_paused(paused, priced=False)
        if new:
            rows = self._candidates(view, rng)
            found = view.of_new(rows)
            for _ in range(ROUNDS):
                top = rows[np.argsort(-found)[:BEST]]
                more = view.fresh(self.encoder.changed(np.repeat(top, ROUND // BEST, axis=0), rng))
                rows, found = np.concatenate([rows, more]), np.concatenate([found, view.of_new(more)])
            order = np.argsort(-found)[: 1 if self.exact else EXACT]
            options = [self.encoder.params(rows[k]) for k in order]
            exact = found[order] if self.exact else view.exactly(rows[order], options)
            scores = np.concatenate([scores, exact])
            choices += [Decision(params=p) for p in options]
        best = int(scores.argmax())
        return choices[best] if choices[best].params else dataclasses.replace(choices[best], gain=float(gains[best]))

    def _candidates(self, view: _View, rng: np.random.Generator) -> Floats:
        rows = self.encoder.snap(rng.random((DRAWN, len(self.encoder.names))))
        base = view.base()
        picked = base[rng.integers(len(base), size=NEIGHBOURS)]
        return view.fresh(np.concatenate([rows, self.encoder.changed(picked, rng)]))

    def _worth_trying(self, view: _View, rng: np.random.Generator) -> Decision:
        """The first random candidate that would improve the front if it were as good as can be hoped."""
        rows = self.encoder.snap(rng.random((64, len(self.encoder.names))))
        first = int((view.of_new(rows, optimism=OPTIMISM) > 0).argmax())
        return Decision(params=self.encoder.params(rows[first]), skipped=first)

    def kernel_parameters(self, kernel: Kernel, at: Inputs, values: Floats) -> Floats:
        """Fitted to these values, once."""
        if len(values) < 4:
            return kernel.mean
        key = hashlib.sha1(at.features.tobytes() + at.budget.tobytes() + values.tobytes()).digest()
        if key not in self._fitted:
            if len(self._fitted) > 64:
                self._fitted.clear()
            centre, spread = _standard(values)
            self._fitted[key] = fit(kernel, at, (values - centre) / spread)
        return self._fitted[key]


CostModel = Callable[[Floats], tuple[Floats, Floats]]
"""Features -> mean and deviation of a cost, in its own unit."""


class _View:
    """What one decision knows: models, front, what is running."""

    def __init__(
        self,
        owner: FreezeThaw,
        records: Sequence[TrialRecord],
        corner: Floats,
        given: bool,
        rng: np.random.Generator,
    ) -> None:
        self.owner, self.records = owner, records
        self.space, self.encoder, self.rungs = owner.space, owner.encoder, owner.rungs
        self.rows = owner._rows_of(records, rng)
        self.features = self.encoder.features(self.rows)
        self._known = {k.tobytes() for k in self._keys(self.rows)}
        built = owner._built_of(records[0].params).costs if owner.exact else {}
        costs = self._cost_names(built)
        self.learnt = [o for o in self.space.objectives if o.name not in costs]
        self.curves = {o.name: self._curve(o) for o in self.learnt}
        wanted = [*(o.name for o in self.space.objectives), *(c.name for c in self.space.constraints)]
        told = {n for r in records for n in r.values}
        learnt = [n for n in dict.fromkeys(wanted) if n in costs & told and n not in built]
        self.costs = {n: self._cost_model([r.values.get(n, np.nan) for r in records]) for n in learnt}
        self._pace = self._pace_model() if self.space.budget.time_limit else None
        self.corner = corner if given else self._closer(corner)
        self.cut = self._cut()

    def base(self) -> Floats:
        """Rows of the non-dominated ones at the highest rung that has some, and of the front."""
        seen = [(i, r) for i, r in enumerate(self.records) if r.rungs and r.state != "failed"]
        if not seen:
            return self.rows[:1]
        top = max(r.epochs for _, r in seen)
        best = [i for i, r in seen if r.epochs == top]
        values = np.array([self._row(self.records[i].values) for i in best])
        return np.asarray(self.rows[np.array(best)[non_dominated(values, ["min"] * values.shape[1])]])

    def fresh(self, rows: Floats) -> Floats:
        """Rows without those of known candidates; all of them if none were left."""
        kept = [i for i, k in enumerate(self._keys(rows)) if k.tobytes() not in self._known]
        return rows[kept] if kept else rows

    def of_new(self, rows: Floats, *, optimism: float | None = None) -> Floats:
        """Expected improvement per epoch of new candidates; with `optimism`, that of the value so many deviations
        better than expected."""
        mean, deviation, feasible = self._predict(rows)
        if optimism is not None:
            mean, deviation = mean - optimism * deviation, np.zeros_like(deviation)
        return expected_improvement(self.cut, mean, deviation) * feasible / self._price(self.encoder.features(rows))

    def of_paused(self, which: list[int], *, priced: bool = True) -> Floats:
        """Expected improvement of paused records, per epoch that is left unless not `priced`."""
        if not which:
            return np.zeros(0)
        mean = np.empty((len(which), len(self.corner)))
        deviation = np.zeros_like(mean)
        at = self._final(self.features[which], np.array(which))
        for d, objective in enumerate(self.space.objectives):
            if objective.name in self.curves:
                mean[:, d], deviation[:, d] = self.curves[objective.name].predict(at)
            else:
                mean[:, d] = [self._row(self.records[i].values)[d] for i in which]
        gain = expected_improvement(self.cut, mean, deviation)
        if not priced:
            return gain
        price = self._price(self.features[which], np.array([self.records[i].epochs for i in which]))
        return np.asarray(gain / price)

    def _price(self, features: Floats, epochs: Ints | None = None) -> Floats:
        """What candidates still cost up to full training: epochs, or seconds where time is limited."""
        left = self.rungs[-1] - (np.zeros(len(features)) if epochs is None else epochs)
        return np.asarray(left * self._pace(features)[0] if self._pace is not None else left, dtype=np.float64)

    def exactly(self, rows: Floats, options: list[Params]) -> Floats:
        """As `of_new`, with costs computed instead of learnt; -1 for what cannot be built."""
        mean, deviation, feasible = self._predict(rows)
        for k, params in enumerate(options):
            built = self.owner._built_of(params)
            values = self._row(built.costs)
            known = np.isfinite(values)
            mean[k, known], deviation[k, known] = values[known], 0.0
            feasible[k] = feasible[k] if self._feasible(built) else -1.0
        score = expected_improvement(self.cut, mean, deviation)
        return np.asarray(np.where(feasible < 0, -1.0, score * feasible / self._price(self.encoder.features(rows))))

    def _predict(self, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """Means and deviations `(N, D)` in full, smaller is better, and probability `(N,)` of being feasible."""
        features = self.encoder.features(rows)
        shape = len(rows), len(self.space.objectives)
        mean, deviation, feasible = np.empty(shape), np.zeros(shape), np.ones(len(rows))
        at = self._final(features, np.full(len(rows), -1))
        for d, objective in enumerate(self.space.objectives):
            if objective.name in self.curves:
                mean[:, d], deviation[:, d] = self.curves[objective.name].predict(at)
            elif objective.name in self.costs:
                value, wide = self.costs[objective.name](features)
                mean[:, d], deviation[:, d] = self.owner._signs[d] * value, wide
        if self.owner.exact:
            built = [self.owner._build(self.encoder.params(row)) for row in rows]
            values = np.array([self._row(b.costs) for b in built])
            mean = np.where(np.isfinite(values), values, mean)
            feasible = np.array([self._feasible(b) for b in built])
        for c in self.space.constraints:
            if c.name in self.costs:
                value, wide = self.costs[c.name](features)
                z = (c.bound - value) / np.maximum(wide, 1e-12)
                feasible = feasible * ndtr(z if c.op.startswith("<") else -z)
        return mean, deviation, feasible

    def _feasible(self, built: Buildable) -> float:
        kept = all(c.holds(built.costs) for c in self.space.constraints if c.name in built.costs)
        return float(kept and not built.infeasible)

    def _cost_names(self, built: Mapping[str, float]) -> set[str]:
        """Objectives and constraints that do not depend on training."""
        names = {*(o.name for o in self.space.objectives), *(c.name for c in self.space.constraints)}
        known = {*built, *(() if self.space.function else COSTS)}
        return {n for n in names if n in known or is_static(self.records, n)}

    def _curve(self, objective: Objective) -> Process:
        every = observe(self.records, objective)
        kernel = Kernel(self.encoder.groups, curves=len(self.rungs) > 1)
        early = every[: refit_at(len(every))][-FIT_MOST:]
        theta = self.owner.kernel_parameters(kernel, self._inputs(early), _clipped(early))
        seen = bounded(with_failures(every, self.records))
        at, values = self._inputs(seen), _clipped(seen)
        centre, spread = _standard(values)
        model = Process(kernel, theta, at, values, centre=centre, spread=spread)
        running = np.array([i for i, r in enumerate(self.records) if r.state == "running"], dtype=np.int64)
        return model.believe(self._final(self.features[running], running)) if len(running) else model

    def _inputs(self, seen: Observations) -> Inputs:
        span = math.log(self.rungs[-1] / self.rungs[0]) or 1.0
        return Inputs(self.features[seen.who], np.log(seen.epochs / self.rungs[0]) / span, seen.who)

    def _final(self, features: Floats, who: Ints) -> Inputs:
        return Inputs(features, np.full(len(features), 1.0 if len(self.rungs) > 1 else 0.0), who)

    def _pace_model(self) -> CostModel | None:
        """Features -> seconds per epoch."""
        pace = [r.train_seconds / r.epochs if r.epochs and r.train_seconds > 0 else np.nan for r in self.records]
        return self._cost_model(pace) if np.isfinite(pace).sum() >= 4 else None

    def _cost_model(self, known: Sequence[float]) -> CostModel:
        """Learnt from the value of each record, NaN where there is none; on the logarithm where all are positive."""
        which = np.flatnonzero(np.isfinite(known))[-MOST:]
        values = np.asarray(known, dtype=np.float64)[which]
        positive = bool((values > 0).all())
        shown = np.log(values) if positive else values
        at = Inputs(self.features[which], np.zeros(len(which)), which)
        kernel = Kernel(self.encoder.groups, curves=False)
        centre, spread = _standard(shown)
        early = slice(max(0, refit_at(len(shown)) - FIT_MOST), refit_at(len(shown)))
        theta = self.owner.kernel_parameters(kernel, at[early], shown[early])
        model = Process(kernel, theta, at, shown, centre=centre, spread=spread)

        def predict(features: Floats) -> tuple[Floats, Floats]:
            mean, deviation = model.predict(Inputs(features, np.zeros(len(features)), np.full(len(features), -1)))
            return (np.exp(mean), np.exp(mean) * deviation) if positive else (mean, deviation)

        return predict

    def _closer(self, corner: Floats) -> Floats:
        """The reference point, where the model expects the first candidates in full to be better than it."""
        first = np.array([i for i, r in enumerate(self.records) if r.rungs][:DESIGN])
        corner = corner.copy()
        for d, objective in enumerate(self.space.objectives):
            if objective.name in self.curves:
                expected, _ = self.curves[objective.name].predict(self._final(self.features[first], first))
                corner[d] = min(corner[d], float(expected.max()))
        return corner

    def _cut(self) -> Boxes:
        """What the complete ones leave to gain, and the running ones by what is expected of them."""
        points = [self._row(r.values) for r in self.records if r.state == "complete"]
        running = [i for i, r in enumerate(self.records) if r.state == "running"]
        if running:
            mean, _, _ = self._predict(self.rows[running])
            for k, i in enumerate(running):
                at = self._final(self.features[[i]], np.array([i]))
                own = self._row(self.records[i].values)
                for d, objective in enumerate(self.space.objectives):
                    if objective.name in self.curves:
                        own[d] = self.curves[objective.name].predict(at)[0][0]
                points.append(np.where(np.isfinite(own), own, mean[k]))
        table = np.array(points).reshape(-1, len(self.corner))
        return boxes(table[np.isfinite(table).all(axis=1)], self.corner)

    def _row(self, values: Mapping[str, Any]) -> Floats:
        """Objective values, smaller is better; NaN for those that are not there."""
        row = [float(values.get(o.name, np.nan)) for o in self.space.objectives]
        return np.asarray(np.array(row) * self.owner._signs)

    def _keys(self, rows: Floats) -> Floats:
        return np.asarray(np.where(self.encoder.active(rows), rows.round(9), -1.0))


@functools.cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def refit_at(count: int) -> int:
    """Of so many observations those that the kernel's parameters are fitted to: more at every fifteenth part more."""
    size = 8
    while size + math.ceil(size / 15) <= count:
        size += math.ceil(size / 15)
    return min(size, count)


def _clipped(seen: Observations) -> Floats:
    """Values, smaller is better, with those cut off that are hopeless for their rung."""
    values = seen.values.copy()
    for epochs in np.unique(seen.epochs):
        on = seen.epochs == epochs
        middle, best = float(np.median(values[on])), float(values[on].min())
        if on.sum() >= 4:
            values[on] = np.minimum(values[on], middle + CLIP * (middle - best))
    return values


def _standard(values: Floats) -> tuple[float, float]:
    return float(values.mean()), float(values.std()) or 1.0
