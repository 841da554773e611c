"""What happens in a running study, for whoever shows or records it. One decision: observers are plain objects with
these methods, called in the driver's process, and an observer never decides anything."""

from __future__ import annotations

from typing import Protocol

from nasdet.search import Engine
from nasdet.space.trial import TrialRecord


class Observer(Protocol):
    """Sees a study run."""

    def started(self, record: TrialRecord, stop: int) -> None:
        """A trial trains on, up to `stop` epochs."""

    def epoch(self, record: TrialRecord, epoch: int, means: dict[str, float]) -> None:
        """A trial finished an epoch; `means` are the training's."""

    def changed(self, record: TrialRecord, engine: Engine) -> None:
        """A trial reached a rung, failed or was found infeasible."""


class Observers:
    """Calls each observer in turn."""

    def __init__(self, *observers: Observer) -> None:
        self._all = observers

    def started(self, record: TrialRecord, stop: int) -> None:
        """See `Observer.started`."""
        for observer in self._all:
            observer.started(record, stop)

    def epoch(self, record: TrialRecord, epoch: int, means: dict[str, float]) -> None:
        """See `Observer.epoch`."""
        for observer in self._all:
            observer.epoch(record, epoch, means)

    def changed(self, record: TrialRecord, engine: Engine) -> None:
        """See `Observer.changed`."""
        for observer in self._all:
            observer.changed(record, engine)
