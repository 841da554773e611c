"""The freeze-thaw decision: which new candidate starts, or which paused trial continues.

A Gaussian process over (parameters, log budget) predicts the full-budget values of thousands of new candidates and of
the paused trials. Costs that are known before training enter exactly, or are learnt from those of earlier proposals
where computing them takes long. The candidate or trial with the largest expected hypervolume improvement per remaining
epoch trains to its next rung. Now and then a random candidate starts instead, so that a wrong model does not decide for
good.

One decision: a decision is a pure function of (records, seed, number); what is kept between decisions only saves time.
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
from nasdet.search.freeze_thaw.acquisition import MAX_DESIGN, MIN_DESIGN, Acquisition, SpaceContext
from nasdet.search.freeze_thaw.encoding import Encoder
from nasdet.search.freeze_thaw.learning_curves import Surrogates
from nasdet.search.freeze_thaw.observations import RecordTable
from nasdet.space import Params, SearchSpace
from nasdet.space.domains import canonical
from nasdet.trial import TrialRecord

Floats = NDArray[np.float64]

DESIGN_DRAWS = 20
"""Random candidates drawn for each place of the initial design; sorted by cost, one of each slice is taken."""
DESIGN_TIME = 0.125
"""Share of a time limit after which the initial design ends; `MIN_DESIGN` of its candidates are started in any case."""
RANDOM_SHARE = 0.25
"""Share of decisions that start a random candidate."""
OPTIMISM = 2.0
"""Deviations by which a random candidate may beat its prediction before it counts as hopeless."""
RANDOM_CANDIDATES = 800
"""Random candidates among which the best of the acquisition function is sought."""
NEIGHBOURS = 400
"""Changed copies of the best known candidates among which it is sought too."""
SEARCH_ROUNDS, ROUND_SIZE, ROUND_PARENTS = 2, 120, 6
"""Further rounds of the search, changed copies in each, and the best so far that they are copies of."""
RECOMPUTED = 3
"""The best new candidates, whose learnt costs are replaced by computed ones before the choice."""
MAX_CACHED = 20_000
"""Built candidates in the cache."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """Continue the paused `trial`, or start a candidate with `params`; neither: nothing is worth training."""

    trial: str | None = None
    params: Params | None = None
    gain: float = math.inf
    """Expected gain in hypervolume once the paused trial is complete."""
    skipped: int = 0
    """Random candidates passed over, because even an optimistic prediction of them did not improve the front."""


class FreezeThaw:
    """Makes the decisions for one space.

    Args:
        space: the search space.
        build: flat parameters -> `Candidate` with the costs known before training.
        cheap_build: whether `build` may be called thousands of times per decision.
    """

    def __init__(self, space: SearchSpace, build: Build, *, cheap_build: bool) -> None:
        self.space, self.cheap_build = space, cheap_build
        self.encoder = Encoder(space)
        surrogates = Surrogates(self.encoder.groups, space.rungs())
        self._build = build
        self._cache: dict[str, Candidate] = {}
        self._context = SpaceContext(space, self.encoder, surrogates, build, self._cached_build, cheap_build)
        names = dict.fromkeys([*(o.name for o in space.objectives), *(c.name for c in space.constraints)])
        self._table = RecordTable(self.encoder, list(names))

    def decide(
        self,
        records: Sequence[TrialRecord],
        *,
        seed: int,
        number: int,
        reference: Sequence[float],
        reference_is_known: bool = True,
        new: bool = True,
        allowed: Callable[[TrialRecord], bool] = lambda record: True,
    ) -> Decision:
        """The next step of the study.

        Args:
            records: every record of it.
            seed: of the study.
            number: of the proposal, should a candidate start.
            reference: the study's reference point in the objectives' own directions; empty before it is fixed.
            reference_is_known: False if it was estimated from first results. The model may then tighten it: only the
                model knows what first results come to at full budget.
            new: whether a candidate may start.
            allowed: which paused trials may continue.
        """
        with _threads().limit(limits=1):  # the matrices are small: more threads only hinder each other
            self._table.update(records)
            rng = np.random.default_rng([seed, number, self._table.result_count])
            if new and (params := self._before_the_model(seed, number, reference, rng)) is not None:
                return Decision(params=params)
            if not new and not (reference and (self._table.states == "paused").any()):
                return Decision()
            corner = np.asarray(reference, dtype=np.float64) * self._context.signs()
            example = records[0].params
            acquisition = Acquisition(self._context, self._table, example, corner, reference_is_known, rng)
            paused = [i for i in acquisition.paused() if allowed(records[i])]
            if new and rng.random() < RANDOM_SHARE:
                return self._promising_random(acquisition, rng)
            return self._best(acquisition, records, paused, rng, new) if paused or new else Decision()

    def _before_the_model(
        self, seed: int, number: int, reference: Sequence[float], rng: np.random.Generator
    ) -> Params | None:
        """The next candidate of the initial design, and after it random ones until there are results to learn from;
        None once the model decides."""
        place, size = number - len(self.space.points), self._design_size()
        if place < size and not self._is_late(place):
            return self._design(seed)[place]
        if not reference or self._table.result_count < min(place, size) // 2:
            return self.space.sample(rng)
        return None

    def _design_size(self) -> int:
        trials = self.space.budget.trials
        return MAX_DESIGN if trials is None else min(MAX_DESIGN, max(MIN_DESIGN, trials // 4))

    def _is_late(self, place: int) -> bool:
        """Whether time is limited and the design has had its share of it. The time that has passed is estimated by that
        of all trainings, divided by those side by side."""
        limit, parallel = self.space.budget.time_limit, 1 + int((self._table.states == "running").sum())
        return limit is not None and place >= MIN_DESIGN and self._table.seconds.sum() > DESIGN_TIME * limit * parallel

    def _design(self, seed: int) -> list[Params]:
        """The initial design: random candidates, spread over the first cost that `build` knows, in random order."""
        size = self._design_size()
        rng = np.random.default_rng([seed, size])
        drawn = [self.space.sample(rng) for _ in range(size * (DESIGN_DRAWS if self.cheap_build else 1))]
        if not self.cheap_build:
            return drawn
        good = [p for p in drawn if not self._cached_build(p).infeasible] or drawn
        name = next((o.name for o in self.space.objectives if o.name in self._cached_build(good[0]).costs), None)
        if name is not None:
            good.sort(key=lambda p: self._cached_build(p).costs.get(name, 0.0))
        edges = np.linspace(0, len(good), size + 1)
        chosen = [good[min(int(rng.uniform(a, b)), len(good) - 1)] for a, b in itertools.pairwise(edges)]
        return [chosen[i] for i in rng.permutation(size)]

    def _cached_build(self, params: Params) -> Candidate:
        key = canonical(params)
        if key not in self._cache:
            if len(self._cache) > MAX_CACHED:
                self._cache.clear()
            self._cache[key] = self._build(params)
        return self._cache[key]

    def _promising_random(self, acquisition: Acquisition, rng: np.random.Generator) -> Decision:
        """The first random candidate that would improve the front if it came out as well as can be hoped."""
        rows = self.encoder.snap(rng.random((64, len(self.encoder.names))))
        rows = acquisition.in_random_order(acquisition.unknown(rows, or_all=True), rng)
        first = int((acquisition.of_new(rows, optimism=OPTIMISM) > 0).argmax())
        return Decision(params=self.encoder.params(rows[first]), skipped=first)

    def _best(
        self,
        acquisition: Acquisition,
        records: Sequence[TrialRecord],
        paused: list[int],
        rng: np.random.Generator,
        new: bool,
    ) -> Decision:
        """The paused trial or new candidate of largest acquisition value."""
        gains, scores = acquisition.of_paused(paused)
        choices = [Decision(trial=records[i].trial) for i in paused]
        if new:
            rows, acquired = self._search(acquisition, rng)
            # Where costs are learnt, those of the best are computed now: building a few candidates is affordable.
            order = np.argsort(-acquired)[: 1 if self.cheap_build else RECOMPUTED]
            candidates = [self.encoder.params(rows[k]) for k in order]
            own = acquired[order] if self.cheap_build else acquisition.of_new_with_built_costs(rows[order], candidates)
            scores = np.concatenate([scores, own])
            choices += [Decision(params=p) for p in candidates]
        best = int(scores.argmax())
        return choices[best] if choices[best].params else dataclasses.replace(choices[best], gain=float(gains[best]))

    def _search(self, acquisition: Acquisition, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Rows of new candidates and their acquisition values: random ones, changed copies of the best known ones, then
        in a few rounds changed copies of the best among these."""
        rows = self.encoder.snap(rng.random((RANDOM_CANDIDATES, len(self.encoder.names))))
        parents = acquisition.parents()
        parents = parents[rng.integers(len(parents), size=NEIGHBOURS)]
        rows = np.concatenate([rows, self.encoder.changed(parents, rng)])
        rows = acquisition.unknown(rows, or_all=True)
        acquired = acquisition.of_new(rows)
        for _ in range(SEARCH_ROUNDS):
            parents = np.repeat(rows[np.argsort(-acquired)[:ROUND_PARENTS]], ROUND_SIZE // ROUND_PARENTS, axis=0)
            more = acquisition.unknown(self.encoder.changed(parents, rng))
            if len(more):
                rows, acquired = np.concatenate([rows, more]), np.concatenate([acquired, acquisition.of_new(more)])
        return rows, acquired


@functools.cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()
