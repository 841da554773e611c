"""The models of freeze-thaw: one learning curve process per learnt objective, one process per cost that is learnt. One
decision: kernel parameters are fitted to the first results that make a fifteenth more than the last time, so they are
fitted seldom and a resumed study has those of an unbroken one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nasdet.search.freeze_thaw.gaussian_process import Inputs, Kernel, Process, fit
from nasdet.search.freeze_thaw.observations import MOST, Observations, bounded, with_failures
from nasdet.search.freeze_thaw.table import Table
from nasdet.space import Objective

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CLIP = 3.0
"""Values worse than their rung's median by more than so many times its distance from the best are cut off there."""
FIT_MOST = 200
"""Observations from which the kernel's parameters are fitted."""
MAX_FITTED = 64
"""Fitted parameters that are kept."""
CostModel = Callable[[Floats], tuple[Floats, Floats]]
"""Features -> mean and deviation of a cost, in its own unit."""


class Forecasts:
    """Makes models for one space.

    Args:
        groups: `(C,)` length scale of each feature, as `Encoder.groups`.
        rungs: cumulative epochs, rising.
    """

    def __init__(self, groups: Ints, rungs: Sequence[int]) -> None:
        self._groups, self._rungs = groups, rungs
        self._fitted: dict[bytes, Floats] = {}

    def curve(self, table: Table, objective: Objective) -> Process:
        """The process of an objective that training decides; running candidates do as expected."""
        every = table.observations(objective)
        kernel = Kernel(self._groups, curves=len(self._rungs) > 1)
        early = every[: refit_at(len(every))][-FIT_MOST:]
        theta = self._parameters(kernel, self._inputs(table, early), _clipped(early))
        failed = np.flatnonzero(table.states == "failed")
        seen = bounded(with_failures(every, failed, table.epochs[failed]))
        at, values = self._inputs(table, seen), _clipped(seen)
        centre, spread = _standard(values)
        model = Process(kernel, theta, at, values, centre=centre, spread=spread)
        running = np.flatnonzero(table.states == "running")
        return model.believe(self.final(table.features[running], running)) if len(running) else model

    def cost(self, table: Table, known: Floats, *, signed: bool = False) -> CostModel:
        """Learnt from the value `(N,)` of each record, NaN where there is none; on the logarithm where all are
        positive, unless the value is `signed`: those seen so far then only happen to be."""
        which = np.flatnonzero(np.isfinite(known))[-MOST:]
        values = known[which]
        positive = not signed and bool((values > 0).all())
        shown = np.log(values) if positive else values
        at = Inputs(table.features[which], np.zeros(len(which)), which)
        kernel = Kernel(self._groups, curves=False)
        centre, spread = _standard(shown)
        early = slice(max(0, refit_at(len(shown)) - FIT_MOST), refit_at(len(shown)))
        theta = self._parameters(kernel, at[early], shown[early])
        model = Process(kernel, theta, at, shown, centre=centre, spread=spread)

        def predict(features: Floats) -> tuple[Floats, Floats]:
            mean, deviation = model.predict(Inputs(features, np.zeros(len(features)), np.full(len(features), -1)))
            return (np.exp(mean), np.exp(mean) * deviation) if positive else (mean, deviation)

        return predict

    def final(self, features: Floats, who: Ints) -> Inputs:
        """Where the value of candidates at the full budget is."""
        return Inputs(features, np.full(len(features), 1.0 if len(self._rungs) > 1 else 0.0), who)

    def _inputs(self, table: Table, seen: Observations) -> Inputs:
        span = math.log(self._rungs[-1] / self._rungs[0]) or 1.0
        return Inputs(table.features[seen.who], np.log(seen.epochs / self._rungs[0]) / span, seen.who)

    def _parameters(self, kernel: Kernel, at: Inputs, values: Floats) -> Floats:
        """Fitted to these values, once."""
        if len(values) < 4:
            return kernel.mean
        key = hashlib.sha1(at.features.tobytes() + at.budget.tobytes() + values.tobytes()).digest()
        if key not in self._fitted:
            if len(self._fitted) > MAX_FITTED:
                self._fitted.clear()
            centre, spread = _standard(values)
            self._fitted[key] = fit(kernel, at, (values - centre) / spread)
        return self._fitted[key]


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
