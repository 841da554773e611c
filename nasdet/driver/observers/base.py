"""What happens in a running study, for whoever shows or records it. One decision: observers are plain objects with
these methods, called in the driver's process; an observer never decides anything, and one that fails ends nothing."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from typing import Protocol

from nasdet.trial import TrialRecord


class Observer(Protocol):
    """Sees a study run."""

    def started(self, record: TrialRecord, stop: int) -> None:
        """A trial trains on, up to `stop` epochs."""

    def epoch(self, record: TrialRecord, epoch: int, means: dict[str, float]) -> None:
        """A trial finished an epoch; `means` are the training's."""

    def changed(self, record: TrialRecord, time_left: float) -> None:
        """A trial reached a rung, failed or was found infeasible; so many seconds are left, maybe infinite."""


class Observers:
    """Calls each observer in turn.

    Args:
        observers: called in this order.
        warn: told once, in one line, of each observer that fails.
    """

    def __init__(self, *observers: Observer, warn: Callable[[str], None]) -> None:
        self._all, self._warn = observers, warn
        self._noted: set[str] = set()

    def started(self, record: TrialRecord, stop: int) -> None:
        """See `Observer.started`."""
        for observer in self._all:
            with self.guard(observer):
                observer.started(record, stop)

    def epoch(self, record: TrialRecord, epoch: int, means: dict[str, float]) -> None:
        """See `Observer.epoch`."""
        for observer in self._all:
            with self.guard(observer):
                observer.epoch(record, epoch, means)

    def changed(self, record: TrialRecord, time_left: float) -> None:
        """See `Observer.changed`."""
        for observer in self._all:
            with self.guard(observer):
                observer.changed(record, time_left)

    @contextlib.contextmanager
    def guard(self, observer: object) -> Iterator[None]:
        """Keep what an observer raises from the search; its first failure is told, and stands in log.txt."""
        # Rich raises SystemExit when whoever reads the terminal is gone.
        try:
            yield
        except (Exception, SystemExit) as error:
            name = type(observer).__name__
            if name in self._noted:
                return
            self._noted.add(name)
            traceback.print_exc()  # stderr is log.txt while a study runs
            with contextlib.suppress(Exception, SystemExit):
                self._warn(f"{name} failed, the search goes on ({type(error).__name__}: {error})")
