"""Which trials of a study can be told apart. One decision: only the accuracy is in doubt; the other objectives are
counted or measured far more exactly than any validation split measures AP."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nasdet.evaluation import MASK, read_resamples
from nasdet.evaluation.bootstrap import HIGH, LOW, NAMES, Floats
from nasdet.evaluation.compare import SURE, Measured, chance_better, is_known, seed_spread
from nasdet.pareto import Direction, front
from nasdet.search.records.repeats import Repeat, RepeatStore
from nasdet.space import Objective
from nasdet.study_summary import IndistinctPair, Moments, RepeatedTrainings
from nasdet.trial import TrialRecord

FIGURES = ("ap", "ar", MASK)
"""What the names of figures of accuracy begin with; all else that a trial knows is a cost."""


class Trust:
    """The trials of a study with what is known of their noise.

    Args:
        folder: of the study.
        records: of the study.
        objectives: of the study.
    """

    def __init__(self, folder: Path, records: Sequence[TrialRecord], objectives: Sequence[Objective]) -> None:
        self._folder, self._objectives = folder, objectives
        self._repeats = RepeatStore(folder)
        self.front = front(records, objectives)
        self.name = next((o.name for o in objectives if o.name in NAMES), "")
        """The objective in doubt; empty: the study has none that is evaluated on images."""
        self._known = {r.trial: self._measured(r) for r in self.front if self.name}
        self._spread = seed_spread(list(self._known.values()))

    def chance(self, a: str, b: str) -> float | None:
        """Chance that front member `a` is more accurate than `b`; None if nothing tells."""
        if not self.name:
            return None
        return chance_better(self._known[a], self._known[b], self._spread)

    def indistinct(self) -> tuple[IndistinctPair, ...]:
        """Neighbours on the front, in the order of their accuracy, whose order is not known."""
        order = sorted(self._known, key=lambda trial: -self._known[trial].mean)
        pairs = [(a, b, self.chance(a, b)) for a, b in itertools.pairwise(order)]
        return tuple(
            IndistinctPair((a, b), self.name, chance)
            for a, b, chance in pairs
            if chance is not None and not is_known(chance)
        )

    def rivals(self, trial: str) -> list[TrialRecord]:
        """Front members that cost no more than a trial of the front in anything, less in something, and cannot be told
        apart from it in accuracy; the cheapest in the first cost first."""
        picked = next((r for r in self.front if r.trial == trial), None)
        costs = [o for o in self._objectives if o.name != self.name]
        if picked is None or not costs or not self.name:
            return []
        found = [r for r in self.front if _is_cheaper(r, picked, costs) and self._is_rival(trial, r.trial)]
        return sorted(found, key=lambda r: _cost(r, costs[0].name, costs[0].direction))

    def repeated(self, trial: str) -> RepeatedTrainings | None:
        """Mean and deviation of each figure over a trial's repeated trainings; None without any."""
        done = [r for r in self._repeats.of(trial) if r.record.state == "complete"]
        if not done:
            return None
        return RepeatedTrainings(tuple(r.seed for r in done), {n: _moments(done, n) for n in _figures(done)})

    def _is_rival(self, trial: str, other: str) -> bool:
        chance = self.chance(trial, other)
        return chance is not None and chance < SURE

    def _measured(self, record: TrialRecord) -> Measured:
        done = [r for r in self._repeats.of(record.trial) if r.record.state == "complete"]
        places = [self._repeats.trial_dir(r.record.trial) for r in done]
        own = [self._folder / "trials" / record.trial]
        drawn = [read_resamples(place).get(self.name, np.zeros(0)) for place in places or own]
        return Measured(record.values[self.name], _mean(drawn), tuple(r.record.values[self.name] for r in done))


def _mean(drawn: list[Floats]) -> Floats:
    return np.mean(drawn, axis=0) if len({len(d) for d in drawn}) == 1 else np.zeros(0)


def _figures(done: Sequence[Repeat]) -> list[str]:
    ends = (LOW, HIGH)
    return [n for n in done[0].record.values if n.startswith(FIGURES) and not n.endswith(ends)]


def _moments(done: Sequence[Repeat], name: str) -> Moments:
    """The standard deviation of one training is not known."""
    values = [r.record.values[name] for r in done if name in r.record.values]
    return Moments(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def _is_cheaper(record: TrialRecord, other: TrialRecord, costs: Sequence[Objective]) -> bool:
    pairs = [[_cost(r, o.name, o.direction) for r in (record, other)] for o in costs]
    return all(own <= theirs for own, theirs in pairs) and any(own < theirs for own, theirs in pairs)


def _cost(record: TrialRecord, name: str, direction: Direction) -> float:
    return -record.values[name] if direction == "max" else record.values[name]
