"""Trains each member of a study's front again, in full, with further seeds. One decision: seeds count up from the
study's own, seed after seed over the whole front, so that more seeds later repeat none and an interruption leaves every
member equally often trained."""

from __future__ import annotations

from typing import Any

from nasdet.pareto import front
from nasdet.search import Finished, Job, StudyStore
from nasdet.search.records.repeats import Repeat, RepeatStore
from nasdet.search.records.summary import FIGURES
from nasdet.trial import Rung, TrialRecord


class Repeats:
    """The engine's counterpart for repeated trainings; a training that failed is not tried again.

    Args:
        study: a finished study.
        count: seeds beyond the study's own.
    """

    def __init__(self, study: StudyStore, count: int) -> None:
        self.store, self.space = RepeatStore(study.dir), study.space
        self.time_left = float("inf")
        self._members = front(study.records(), study.objectives)
        known = {r.record.trial: r for r in self.store.all()}
        planned = [_repeat(m, self.space.budget.seed + k) for k in range(1, count + 1) for m in self._members]
        self._left = [p for p in planned if _is_open(known.get(p.record.trial))]
        self.seeds = {p.record.trial: p.seed for p in planned}
        self._running: dict[str, Repeat] = {}

    @property
    def left(self) -> int:
        """Trainings to do."""
        return len(self._left)

    @property
    def members(self) -> int:
        """Size of the front."""
        return len(self._members)

    def fix_reference(self, measured: dict[str, float] | None = None) -> dict[str, Any] | None:
        """Nothing: the study has fixed it."""
        return None

    def next_job(self) -> Job | None:
        """The next training; raises Finished after the last one."""
        if self._left:
            repeat = self._left.pop(0)
            self.store.add(repeat)
            self._running[repeat.record.trial] = repeat
            return Job(repeat.record, self.space.budget.epochs)
        if self._running:
            return None
        raise Finished

    def report(self, trial: str, epochs: int, values: dict[str, float], *, seconds: float, overhead: float) -> str:
        """Tell the values of a training."""
        record = self.store.get(trial)
        values = {**record.values, **values}
        times = {"train_seconds": seconds, "overhead_seconds": overhead}
        rungs = (Rung(epochs, values),)
        self._end(record.replace(state="complete", values=values, epochs=epochs, rungs=rungs, **times))
        return "complete"

    def note_costs(self, trial: str, costs: dict[str, float]) -> None:
        """Nothing: they are the study's."""

    def reject(self, trial: str, reason: str) -> None:
        """Fail it: the member kept its bounds when it was measured."""
        self.fail(trial, reason)

    def fail(self, trial: str, reason: str) -> None:
        """A training cannot go on."""
        self._end(self.store.get(trial).replace(state="failed", reason=reason))

    def release(self, trial: str) -> None:
        """A training was interrupted; it is the next one, from its checkpoint."""
        self._left.insert(0, self._running.pop(trial))

    def _end(self, record: TrialRecord) -> None:
        self._running.pop(record.trial, None)
        self._left = [repeat for repeat in self._left if repeat.record.trial != record.trial]  # it was released before
        self.store.put(record)
        self.store.prune()


def _repeat(member: TrialRecord, seed: int) -> Repeat:
    """One more training of a member; what it costs is known."""
    costs = {n: v for n, v in member.values.items() if not n.startswith(FIGURES)}
    name = f"{member.trial}-seed{seed}"
    return Repeat(
        member.trial,
        seed,
        TrialRecord(name, member.number, "running", member.params, member.spec, member.recipe, costs),
    )


def _is_open(known: Repeat | None) -> bool:
    return known is None or known.record.state == "running"
