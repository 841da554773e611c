"""The summary of a study on disk, and how sure the order of its front is.

The summary is computed from the stored records alone, so that a running, a finished and a copied study give the same
answer. Only the accuracy of a trial is uncertain: the other objectives are counted, or measured far more exactly than
any validation split measures AP.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nasdet.evaluation import MASK, read_resamples
from nasdet.evaluation.bootstrap import HIGH, LOW, NAMES, Floats
from nasdet.evaluation.compare import SURE, Measured, chance_better, is_known, seed_spread
from nasdet.pareto import Direction, front
from nasdet.search.records.baseline import find_baseline, spent_epochs
from nasdet.search.records.repeats import Repeat, RepeatStore
from nasdet.search.records.study_folder import StudyStore
from nasdet.space import Objective
from nasdet.study_summary import BaselineFigures, IndistinctPair, Moments, RepeatedTrainings, Summary
from nasdet.tracking import run_ids
from nasdet.trial import TrialRecord
from nasdet.uris import default_uri, public_uri

FIGURES = ("ap", "ar", MASK)
"""Figures of accuracy begin with one of these; all other values of a trial are costs."""


def summarise(store: StudyStore) -> Summary:
    """Counts, reference point, hypervolume and front of a study, with what its folder says of its baseline, its
    repeated trainings and its runs in MLflow."""
    runs, records = run_ids(store.dir), store.records()
    summary, trust = Summary.of(records, store.space, store.config), Trust(store.dir, records, store.objectives)
    return dataclasses.replace(
        summary,
        front=tuple(
            dataclasses.replace(m, mlflow_run_id=runs.get(m.trial, ""), repeats=trust.repeated(m.trial))
            for m in summary.front
        ),
        indistinct=trust.indistinct(),
        baseline=_baseline(store),
        folder=str(store.dir),
        tracking_uri=public_uri(store.config.tracking_uri or default_uri(store.dir)),
    )


def _baseline(store: StudyStore) -> BaselineFigures | None:
    """The baseline's part of the summary; None if it was not started."""
    if (baseline := find_baseline(store.dir)) is None:
        return None
    summary = Summary.of(baseline.records(), baseline.space, baseline.config)
    return BaselineFigures(
        sampler="random",
        study=summary.study,
        folder=str(baseline.dir),
        hypervolume=summary.hypervolume,
        wall_seconds=summary.wall_seconds,
        trials=summary.trials,
        epochs=spent_epochs(baseline),
        search_epochs=spent_epochs(store),
    )


class Trust:
    """How sure the order of a study's front is in accuracy, by resampled validation images and repeated trainings.

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
        """The objective that is an accuracy on images; empty if the study has none."""
        self._known = {r.trial: self._measured(r) for r in self.front if self.name}
        self._spread = seed_spread(list(self._known.values()))

    def chance(self, a: str, b: str) -> float | None:
        """Probability that front member `a` is more accurate than `b`; None if nothing is known about it."""
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
        """Front members that cost no more than a trial of the front in any objective, less in one, and may be as
        accurate; the cheapest in the first cost first."""
        picked = next((r for r in self.front if r.trial == trial), None)
        costs = [o for o in self._objectives if o.name != self.name]
        if picked is None or not costs or not self.name:
            return []

        def is_rival(other: TrialRecord) -> bool:
            pairs = [(_cost(other, o.name, o.direction), _cost(picked, o.name, o.direction)) for o in costs]
            is_cheaper = all(own <= theirs for own, theirs in pairs) and any(own < theirs for own, theirs in pairs)
            chance = self.chance(trial, other.trial) if is_cheaper else None
            return chance is not None and chance < SURE

        return sorted(filter(is_rival, self.front), key=lambda r: _cost(r, costs[0].name, costs[0].direction))

    def repeated(self, trial: str) -> RepeatedTrainings | None:
        """Mean and deviation of each figure over a trial's repeated trainings; None without any."""
        done = self._complete(trial)
        if not done:
            return None
        ends = (LOW, HIGH)
        names = [n for n in done[0].record.values if n.startswith(FIGURES) and not n.endswith(ends)]
        figures = {}
        for name in names:
            values = [r.record.values[name] for r in done if name in r.record.values]
            std = float(np.std(values, ddof=1)) if len(values) > 1 else None
            figures[name] = Moments(float(np.mean(values)), std)
        return RepeatedTrainings(tuple(r.seed for r in done), figures)

    def _complete(self, trial: str) -> list[Repeat]:
        return [r for r in self._repeats.of(trial) if r.record.state == "complete"]

    def _measured(self, record: TrialRecord) -> Measured:
        done = self._complete(record.trial)
        folders = [self._repeats.trial_dir(r.record.trial) for r in done]
        folders = folders or [self._folder / "trials" / record.trial]
        drawn = [read_resamples(folder).get(self.name, np.zeros(0)) for folder in folders]
        return Measured(record.values[self.name], _mean(drawn), tuple(r.record.values[self.name] for r in done))


def _mean(drawn: list[Floats]) -> Floats:
    """Mean over trainings; empty where they were not resampled alike."""
    return np.mean(drawn, axis=0) if len({len(d) for d in drawn}) == 1 else np.zeros(0)


def _cost(record: TrialRecord, name: str, direction: Direction) -> float:
    return -record.values[name] if direction == "max" else record.values[name]
