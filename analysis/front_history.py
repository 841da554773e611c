"""How the front grew: its hypervolume over the finished trials, and over the epochs and minutes that were spent, of a
study and of the random search that it is compared with.

Neither needs a clock, so that both are the same after a resume: trials count in the order in which they finished, and
the seconds of a trial are spread evenly over its epochs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nasdet.pareto import FrontStep, GrowingFront, ObjectiveLike, as_costs, hypervolume
from nasdet.search.records.baseline import find_baseline
from nasdet.trial import TrialRecord

if TYPE_CHECKING:
    from nasdet.search import StudyStore

ENDED = ("complete", "stopped", "failed")
"""States of trials that trained and will not be continued."""


class FrontHistory:
    """The hypervolume and size of the front after each finished trial, one by one.

    Args:
        objectives: the D objectives of the study.
        reference: `(D,)` in the objectives' own units and directions, as `reference_point` of a study's summary.

    Attributes:
        steps: one for each finished trial so far.
    """

    def __init__(self, objectives: Sequence[ObjectiveLike], reference: Sequence[float]) -> None:
        self.steps: list[FrontStep] = []
        self._corner = as_costs([list(reference)], [o.direction for o in objectives])[0]
        self._front = GrowingFront(objectives)

    def add(self, record: TrialRecord) -> None:
        """Add the next trial that finished; one that still runs or is paused changes nothing."""
        if record.state not in ENDED:
            return
        number, volume, _, epochs, seconds = self.steps[-1] if self.steps else FrontStep(0, 0.0, 0, 0, 0.0)
        if self._front.add(record):
            volume = hypervolume(self._front.costs, self._corner)
        epochs, seconds = epochs + record.epochs, seconds + record.train_seconds
        self.steps.append(FrontStep(number + 1, volume, len(self._front.members), epochs, seconds))


def hypervolume_history(
    records: Sequence[TrialRecord], objectives: Sequence[ObjectiveLike], reference: Sequence[float]
) -> list[FrontStep]:
    """The hypervolume and size of the front after each finished trial.

    Args:
        records: in the order in which they finished; trials still running or paused do not count.
        objectives: the D objectives of the study.
        reference: as for `FrontHistory`; empty before it is fixed, and then there is no history.
    """
    if not reference:
        return []
    history = FrontHistory(objectives, reference)
    for record in records:
        history.add(record)
    return history.steps


@dataclasses.dataclass(frozen=True)
class Curve:
    """The hypervolume after each candidate that was trained in full, from nothing spent to all spent."""

    name: str
    epochs: tuple[float, ...]
    minutes: tuple[float, ...]
    """Minutes of all trials, divided by the number of trials that train side by side."""
    hypervolume: tuple[float, ...]

    def points(self) -> list[dict[str, str | float]]:
        """The curve as rows of a table."""
        places = zip(self.epochs, self.minutes, self.hypervolume, strict=True)
        return [{"search": self.name, "epochs": e, "minutes": m, "hypervolume": v} for e, m, v in places]


def study_curves(store: StudyStore) -> tuple[Curve, ...]:
    """The curves of a study and of its baseline; none without a baseline."""
    baseline = find_baseline(store.dir)
    reference = store.config.reference_point
    if baseline is None or not reference:
        return ()
    pairs = (("this search", store), ("random search", baseline))
    return tuple(
        hypervolume_curve(
            name,
            one.records(),
            store.objectives,
            reference,
            one.config.plan.concurrent if one.config.plan else 1,
        )
        for name, one in pairs
    )


def hypervolume_curve(
    name: str,
    records: Sequence[TrialRecord],
    objectives: Sequence[ObjectiveLike],
    reference: Sequence[float],
    concurrent: int = 1,
) -> Curve:
    """The curve of a study.

    Args:
        name: what to call it.
        records: of the study.
        objectives: of the study.
        reference: the reference point, in the objectives' own directions.
        concurrent: trials trained at the same time.
    """
    results = sorted((rung.told, i) for i, record in enumerate(records) for rung in record.rungs)
    reached = [0] * len(records)
    epochs, seconds, places, done = 0.0, 0.0, [(0.0, 0.0)], []
    for _, i in results:
        # One more rung of one trial: its epochs since the rung before, and their share of the trial's seconds.
        record = records[i]
        step = record.rungs[reached[i]].epochs - (record.rungs[reached[i] - 1].epochs if reached[i] else 0)
        reached[i] += 1
        epochs += step
        seconds += (record.train_seconds + record.overhead_seconds) * step / record.epochs / concurrent
        if record.state == "complete" and reached[i] == len(record.rungs):
            done.append(record)
            places.append((epochs, seconds / 60))
    volumes = [0.0, *(step.hypervolume for step in hypervolume_history(done, objectives, reference))]
    places, volumes = [*places, (epochs, seconds / 60)], [*volumes, volumes[-1]]
    return Curve(name, tuple(e for e, _ in places), tuple(m for _, m in places), tuple(volumes))


def compare_curves(curves: Sequence[Curve]) -> str:
    """A sentence that compares the curve of a study with that of its baseline."""
    ours, other = curves
    spent, end, best = ours.epochs[-1], other.hypervolume[-1], ours.hypervolume[-1]
    text = f"Random search reaches {end:.4g} in {other.epochs[-1]:g} epochs, this search {best:.4g} in {spent:g}"
    reached = next((e for e, v in zip(ours.epochs, ours.hypervolume, strict=True) if v >= end), None)
    return f"{text}; it was past random search's end after {reached:g}." if reached is not None else f"{text}."
