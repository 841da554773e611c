"""Deletes what a study no longer needs. One decision: checkpoints stay for paused and running trials, weights for
members of the front and paused trials; everything else can be trained again from its record."""

from __future__ import annotations

from nasdet.search import Engine, StudyStore
from nasdet.space.pareto import front
from nasdet.space.trial import TrialRecord


class Housekeeping:
    """Observer that prunes `trials/` after every change."""

    def __init__(self, store: StudyStore) -> None:
        self._store = store

    def started(self, record: TrialRecord, stop: int) -> None:
        """Nothing to do."""

    def epoch(self, record: TrialRecord, epoch: int, means: dict[str, float]) -> None:
        """Nothing to do."""

    def changed(self, record: TrialRecord, engine: Engine) -> None:
        """Delete files of trials that left the front or ended off it."""
        records = self._store.records()
        kept = {r.trial for r in front(records, self._store.objectives)}
        for other in records:
            folder = self._store.trial_dir(other.trial)
            if other.state in ("paused", "running") or not folder.exists():
                continue
            (folder / "checkpoint.pt").unlink(missing_ok=True)
            if other.trial not in kept:
                (folder / "weights.safetensors").unlink(missing_ok=True)
                if not any(folder.iterdir()):
                    folder.rmdir()
