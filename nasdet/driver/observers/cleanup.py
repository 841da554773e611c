"""Deletes what a study no longer needs. One decision: checkpoints stay for paused and running trials, up to the space's
`resources.disk_gb`, and weights for paused trials and for all trials that a rule of `export --pick` may choose; all
else can be trained again from its record."""

from __future__ import annotations

from nasdet.driver.observers.base import Observer
from nasdet.pareto import front
from nasdet.search import Engine, StudyStore
from nasdet.space import Objective
from nasdet.trial import TrialRecord

COSTS = ("latency_ms", "params_m", "gflops")


class Housekeeping(Observer):
    """Observer that prunes `trials/` after every change."""

    def __init__(self, store: StudyStore, engine: Engine) -> None:
        self._store, self._engine = store, engine

    def changed(self, record: TrialRecord, time_left: float) -> None:
        """Keep the checkpoints within the disk limit, and delete files that nothing needs any more."""
        self._make_room()
        self.prune()

    def prune(self) -> None:
        """Delete checkpoints of trials that ended, and weights that no rule can pick."""
        records = self._store.records()
        kept = self._pickable(records)
        for other in records:
            folder = self._store.trial_dir(other.trial)
            if other.state in ("paused", "running") or not folder.exists():
                continue
            (folder / "checkpoint.pt").unlink(missing_ok=True)
            if other.trial not in kept:
                (folder / "weights.safetensors").unlink(missing_ok=True)
                if not any(folder.iterdir()):
                    folder.rmdir()

    def _pickable(self, records: list[TrialRecord]) -> set[str]:
        """The front, and the front over all costs: the best trial within any bounds on costs stands on it."""
        objectives = self._store.objectives
        known = {o.name for o in objectives}
        complete = [r for r in records if r.state == "complete"]
        further = [c for c in COSTS if c not in known and all(c in r.values for r in complete)]
        wider = [*objectives, *(Objective(c, "min") for c in further)]
        return {r.trial for r in (*front(records, objectives), *front(records, wider))}

    def _make_room(self) -> None:
        """Give up the paused trials least worth going on with while their checkpoints exceed the disk limit."""
        limit = self._store.space.resources.disk_gb
        sizes = {r.trial: _size(self._store, r) for r in self._store.records() if r.state == "paused"}
        for record in reversed(self._engine.paused()) if sum(sizes.values()) > limit * 1e9 else ():
            self._engine.stop(record.trial, f"its checkpoint made room: resources.disk_gb is {limit:g}")
            del sizes[record.trial]
            if sum(sizes.values()) <= limit * 1e9:
                return


def _size(store: StudyStore, record: TrialRecord) -> int:
    path = store.trial_dir(record.trial) / "checkpoint.pt"
    return path.stat().st_size if path.exists() else 0
