"""The surrogate models of freeze-thaw: learning curves for each objective that training decides, and one model for each
cost that is learnt.

One decision: the kernel's parameters are fitted again only when there are a fifteenth more observations than at the
last fit, and to the first observations of that number. So they are fitted seldom, and a resumed study has the same
parameters as one that was never interrupted.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nasdet.search.freeze_thaw.gaussian_process import Inputs, Kernel, Posterior, fit
from nasdet.search.freeze_thaw.observations import (
    MAX_OBSERVATIONS,
    Observations,
    RecordTable,
    impute_failures,
    limit_observations,
)
from nasdet.space import Objective

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CLIP = 3.0
"""Values worse than their rung's median by more than `CLIP` times the distance from median to best are moved there."""
MAX_FIT = 200
"""Observations that the kernel's parameters are fitted to, at most."""
MAX_FITTED = 64
"""Fitted parameters that are remembered."""
CostModel = Callable[[Floats], tuple[Floats, Floats]]
"""Features -> mean and deviation of a cost, in its own unit."""


class Surrogates:
    """Makes the surrogate models of one space.

    Args:
        groups: `(C,)` length scale of each feature, as `Encoder.groups`.
        rungs: cumulative epochs, rising.
    """

    def __init__(self, groups: Ints, rungs: Sequence[int]) -> None:
        self._groups, self._rungs = groups, rungs
        self._fitted: dict[bytes, Floats] = {}

    def learning_curves(self, table: RecordTable, objective: Objective) -> Posterior:
        """The model of an objective that training decides; for running trials it assumes what it predicts of them, and
        its `fantasies` are those values at the full budget."""
        observed = table.observations(objective)
        kernel = Kernel(self._groups, curves=len(self._rungs) > 1)
        fitted = observed[: refit_size(len(observed))][-MAX_FIT:]
        theta = self._parameters(kernel, self._inputs(table, fitted), _clipped(fitted))
        failed = np.flatnonzero(table.states == "failed")
        seen = limit_observations(impute_failures(observed, failed, table.epochs[failed]))
        at, values = self._inputs(table, seen), _clipped(seen)
        centre, spread = _standardisation(values)
        model = Posterior(kernel, theta, at, values, centre=centre, spread=spread)
        running = np.flatnonzero(table.states == "running")
        return model.fantasize(self.final(table.features[running], running)) if len(running) else model

    def cost(self, table: RecordTable, known: Floats, *, signed: bool = False) -> CostModel:
        """A model of a cost, from its value `(N,)` for each record, NaN where there is none. It is learnt on the
        logarithm if all values are positive, unless the cost is `signed`: then those seen so far only happen to be
        positive."""
        trials = np.flatnonzero(np.isfinite(known))[-MAX_OBSERVATIONS:]
        values = known[trials]
        on_logarithm = not signed and bool((values > 0).all())
        targets = np.log(values) if on_logarithm else values
        at = Inputs(table.features[trials], np.zeros(len(trials)), trials)
        kernel = Kernel(self._groups, curves=False)
        centre, spread = _standardisation(targets)
        fitted = slice(max(0, refit_size(len(targets)) - MAX_FIT), refit_size(len(targets)))
        theta = self._parameters(kernel, at[fitted], targets[fitted])
        model = Posterior(kernel, theta, at, targets, centre=centre, spread=spread)

        def predict(features: Floats) -> tuple[Floats, Floats]:
            mean, deviation = model.predict(Inputs(features, np.zeros(len(features)), np.full(len(features), -1)))
            # To first order, the deviation of exp(y) is exp(mean) times that of y.
            return (np.exp(mean), np.exp(mean) * deviation) if on_logarithm else (mean, deviation)

        return predict

    def final(self, features: Floats, trials: Ints) -> Inputs:
        """The inputs at which the full-budget values of candidates are."""
        return Inputs(features, np.full(len(features), 1.0 if len(self._rungs) > 1 else 0.0), trials)

    def _inputs(self, table: RecordTable, seen: Observations) -> Inputs:
        span = math.log(self._rungs[-1] / self._rungs[0]) or 1.0
        return Inputs(table.features[seen.trial], np.log(seen.epochs / self._rungs[0]) / span, seen.trial)

    def _parameters(self, kernel: Kernel, at: Inputs, values: Floats) -> Floats:
        """The kernel's parameters for these values, fitted once; its prior means for fewer than four."""
        if len(values) < 4:
            return kernel.mean
        key = hashlib.sha1(at.features.tobytes() + at.budget.tobytes() + values.tobytes()).digest()
        if key not in self._fitted:
            if len(self._fitted) > MAX_FITTED:
                self._fitted.clear()
            centre, spread = _standardisation(values)
            self._fitted[key] = fit(kernel, at, (values - centre) / spread)
        return self._fitted[key]


def refit_size(count: int) -> int:
    """The first how many of `count` observations the kernel's parameters are fitted to: the largest of the sizes 8, 9,
    10, ... that each exceed the one before by a fifteenth, rounded up."""
    size = 8
    while size + math.ceil(size / 15) <= count:
        size += math.ceil(size / 15)
    return min(size, count)


def _clipped(seen: Observations) -> Floats:
    """Values, smaller is better, in which those far worse than the others at their rung are moved closer: an outlier
    would take the model's whole range."""
    values = seen.values.copy()
    for epochs in np.unique(seen.epochs):
        at_rung = seen.epochs == epochs
        median, best = float(np.median(values[at_rung])), float(values[at_rung].min())
        if at_rung.sum() >= 4:
            values[at_rung] = np.minimum(values[at_rung], median + CLIP * (median - best))
    return values


def _standardisation(values: Floats) -> tuple[float, float]:
    """Mean and standard deviation; 1 for the latter where all values are equal."""
    return float(values.mean()), float(values.std()) or 1.0
