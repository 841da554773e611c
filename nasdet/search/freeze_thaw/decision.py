"""Which candidate trains next, and which paused one goes on: freeze-thaw by expected hypervolume improvement per
remaining epoch. One decision: a decision is a pure function of (records, seed, number); what is kept between decisions
only saves time.

A Gaussian process over (parameters, log budget) predicts the full-budget value of thousands of new candidates and of
paused ones; costs known before training enter exactly, or are learnt from those of earlier proposals where
computing them takes long. The one with the largest expected improvement per epoch that it still needs goes on by one
rung; now and then a random candidate is started instead, so that a wrong model cannot rule for good.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from nasdet.search.engine.jobs import Build, Candidate
from nasdet.search.freeze_thaw.acquisition import DESIGN, LEAST, Known, Outlook
from nasdet.search.freeze_thaw.encoding import Encoder
from nasdet.search.freeze_thaw.learning_curves import Forecasts
from nasdet.search.freeze_thaw.table import Table
from nasdet.space import Params, SearchSpace
from nasdet.space.domains import canonical
from nasdet.trial import TrialRecord

Floats = NDArray[np.float64]

PER_PLACE = 20
"""Random candidates for each place of the design; they are sorted by cost and one of each slice is taken."""
DESIGN_TIME = 0.125
"""Share of a time limit after which the design ends, of which `LEAST` candidates are tried in any case."""
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

    def __init__(self, space: SearchSpace, build: Build, *, exact: bool) -> None:
        self.space, self.exact = space, exact
        self.encoder = Encoder(space)
        forecasts = Forecasts(self.encoder.groups, space.rungs())
        self._build = build
        self._built: dict[str, Candidate] = {}
        self._known = Known(space, self.encoder, forecasts, build, self._built_of, exact)
        names = dict.fromkeys([*(o.name for o in space.objectives), *(c.name for c in space.constraints)])
        self._table = Table(self.encoder, list(names))

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
        self._table.update(records)
        told = self._table.told
        rng = np.random.default_rng([seed, number, told])
        if new:
            place = number - len(self.space.points)
            if place < self._design_size() and not self._is_late(place):
                return Decision(params=self._design(seed)[place])
            if not reference or told < min(place, self._design_size()) // 2:
                return Decision(params=self._random(rng))
        if not new and not (reference and (self._table.states == "paused").any()):
            return Decision()
        corner = np.asarray(reference, dtype=np.float64) * self._known.signs()
        view = Outlook(self._known, self._table, records[0].params, corner, given, rng)
        paused = [i for i in view.paused() if allowed(records[i])]
        return self._best(view, records, paused, rng, new) if paused or new else Decision()

    def _design_size(self) -> int:
        trials = self.space.budget.trials
        return DESIGN if trials is None else min(DESIGN, max(LEAST, trials // 4))

    def _is_late(self, place: int) -> bool:
        """Whether time is limited and the design has had its share of it, as far as trainings side by side tell."""
        limit, beside = self.space.budget.time_limit, 1 + int((self._table.states == "running").sum())
        return limit is not None and place >= LEAST and self._table.seconds.sum() > DESIGN_TIME * limit * beside

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

    def _built_of(self, params: Params) -> Candidate:
        key = canonical(params)
        if key not in self._built:
            if len(self._built) > 20_000:
                self._built.clear()
            self._built[key] = self._build(params)
        return self._built[key]

    def _best(
        self, view: Outlook, records: Sequence[TrialRecord], paused: list[int], rng: np.random.Generator, new: bool
    ) -> Decision:
        if new and rng.random() < RANDOM_SHARE:
            return self._worth_trying(view, rng)
        gains, scores = view.of_paused(paused)
        choices = [Decision(trial=records[i].trial) for i in paused]
        if new:
            rows = self._candidates(view, rng)
            found = view.of_new(rows)
            for _ in range(ROUNDS):
                top = rows[np.argsort(-found)[:BEST]]
                more = view.fresh(self.encoder.changed(np.repeat(top, ROUND // BEST, axis=0), rng))
                if len(more):
                    rows, found = np.concatenate([rows, more]), np.concatenate([found, view.of_new(more)])
            order = np.argsort(-found)[: 1 if self.exact else EXACT]
            options = [self.encoder.params(rows[k]) for k in order]
            exact = found[order] if self.exact else view.exactly(rows[order], options)
            scores = np.concatenate([scores, exact])
            choices += [Decision(params=p) for p in options]
        best = int(scores.argmax())
        return choices[best] if choices[best].params else dataclasses.replace(choices[best], gain=float(gains[best]))

    def _candidates(self, view: Outlook, rng: np.random.Generator) -> Floats:
        rows = self.encoder.snap(rng.random((DRAWN, len(self.encoder.names))))
        base = view.base()
        picked = base[rng.integers(len(base), size=NEIGHBOURS)]
        rows = np.concatenate([rows, self.encoder.changed(picked, rng)])
        return view.fresh(rows, or_all=True)

    def _worth_trying(self, view: Outlook, rng: np.random.Generator) -> Decision:
        """The first random candidate that would improve the front if it were as good as can be hoped."""
        rows = self.encoder.snap(rng.random((64, len(self.encoder.names))))
        rows = view.shuffled(view.fresh(rows, or_all=True), rng)
        first = int((view.of_new(rows, optimism=OPTIMISM) > 0).argmax())
        return Decision(params=self.encoder.params(rows[first]), skipped=first)


@functools.cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()
