"""Deletes what a study no longer needs. One decision: checkpoints stay for paused and running trials and those that the
end of the search stopped, up to the space's `resources.disk_gb`, and weights for paused trials and for all trials that
a rule of `export --pick` may choose; all else can be trained again from its record."""

from __future__ import annotations

from pathlib import Path

from nasdet.driver.observers.base import Observer
from nasdet.files import previous, remove_half_written
from nasdet.pareto import GrowingFront
from nasdet.search import Engine, StudyStore
from nasdet.search.records.study_folder import CHECKPOINT
from nasdet.space import Objective
from nasdet.trial import TrialRecord

COSTS = ("latency_ms", "params_m", "gflops")


class Housekeeping(Observer):
    """Observer that prunes `trials/` after every change: the first time all of it, then what the change concerns."""

    def __init__(self, store: StudyStore, engine: Engine) -> None:
        self._store, self._engine = store, engine
        self._pickable: _Pickable | None = None
        """None before the first change."""
        self._sizes: dict[str, int] = {}
        """Bytes of the checkpoints of paused trials."""
        self._bytes = 0
        """Their sum."""

    def started(self, record: TrialRecord, stop: int) -> None:
        """It is not paused any more."""
        self._measure(self._store.get(record.trial))

    def changed(self, record: TrialRecord, time_left: float) -> None:
        """Keep the checkpoints within the disk limit, and delete files that nothing needs any more."""
        for other in (record,) if self._pickable else (record, *self._store.ledger.paused()):
            self._measure(other)
        if self._pickable is None or not self._pickable.covers(record):
            self.prune()
        else:
            for trial in (*self._pickable.add(record), record.trial):
                self._tidy(self._store.get(trial))
        self._make_room()

    def prune(self) -> None:
        """Delete checkpoints of trials that ended, and weights that no rule can pick, over the whole study."""
        records = self._store.records()
        self._pickable = _Pickable(records, self._store.objectives)
        for record in records:
            self._tidy(record)

    def _tidy(self, record: TrialRecord) -> None:
        """Delete what one trial does not need any more."""
        folder = self._store.trial_dir(record.trial)
        if record.state in ("paused", "running") or not folder.exists():
            return
        remove_half_written(folder)
        if not record.ended_with_search:
            for path in _checkpoints(folder):
                path.unlink(missing_ok=True)
        if self._pickable is None or record.trial not in self._pickable.trials:
            (folder / "weights.safetensors").unlink(missing_ok=True)
            if not any(folder.iterdir()):
                folder.rmdir()

    def _make_room(self) -> None:
        """Give up the paused trials least worth going on with while their checkpoints exceed the disk limit."""
        limit = self._store.space.resources.disk_gb
        if self._bytes <= limit * 1e9:
            return
        for record in reversed(self._engine.paused()):
            self._engine.stop(record.trial, f"its checkpoint made room: resources.disk_gb is {limit:g}")
            stopped = self._store.get(record.trial)
            self._measure(stopped)
            self._tidy(stopped)
            if self._bytes <= limit * 1e9:
                return

    def _measure(self, record: TrialRecord) -> None:
        """Count the checkpoint of a trial if it is paused, and only then."""
        self._bytes -= self._sizes.pop(record.trial, 0)
        if record.state == "paused":
            kept = [path for path in _checkpoints(self._store.trial_dir(record.trial)) if path.exists()]
            self._sizes[record.trial] = sum(path.stat().st_size for path in kept)
            self._bytes += self._sizes[record.trial]


def _checkpoints(folder: Path) -> tuple[Path, Path]:
    """The last checkpoint of a trial, and the one before."""
    return folder / CHECKPOINT, previous(folder / CHECKPOINT)


class _Pickable:
    """The trials that a rule of `export --pick` may choose: the front, and the front over all costs, since the best
    trial within any bounds on costs stands on it.

    Args:
        records: of the study.
        objectives: of the study.
    """

    def __init__(self, records: list[TrialRecord], objectives: tuple[Objective, ...]) -> None:
        complete, known = [r for r in records if r.state == "complete"], {o.name for o in objectives}
        self._costs = [c for c in COSTS if c not in known and all(c in r.values for r in complete)]
        wider = [*objectives, *(Objective(c, "min") for c in self._costs)]
        self._fronts = GrowingFront(objectives, complete), GrowingFront(wider, complete)
        self.trials = self._members()

    def covers(self, record: TrialRecord) -> bool:
        """Whether it has every cost that all complete trials before it have."""
        return record.state != "complete" or all(c in record.values for c in self._costs)

    def add(self, record: TrialRecord) -> set[str]:
        """Take a record that changed; returns the trials that are not pickable any more because of it."""
        grew = [front.add(record) for front in self._fronts]
        if not any(grew):
            return set()
        before, self.trials = self.trials, self._members()
        return before - self.trials

    def _members(self) -> set[str]:
        return {record.trial for front in self._fronts for record in front.members}
