"""Events of a running study, for whatever shows or records it. One decision: observers are called in the driver's
process and never decide anything, and one that fails ends nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from nasdet.log import logger
from nasdet.trial import TrialRecord


class Observer:
    """Sees a study run; override what is of interest."""

    def started(self, record: TrialRecord, stop: int) -> None:
        """A trial starts or goes on training, up to `stop` epochs."""

    def epoch(self, record: TrialRecord, epoch: int, means: dict[str, float]) -> None:
        """A trial finished an epoch; `means` are those of the training: loss and its parts, learning rate, ..."""

    def changed(self, record: TrialRecord, time_left: float) -> None:
        """A trial reached a rung, failed or was found infeasible; `time_left` in seconds, infinite without a limit."""


class Observers(Observer):
    """Calls each observer in turn.

    Args:
        observers: called in this order.
        warn: given one line for each observer that fails, at its first failure.
    """

    def __init__(self, *observers: Observer, warn: Callable[[str], None]) -> None:
        self._all, self._warn = observers, warn
        self._failed: set[str] = set()

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
        """Keep an observer's exception from the search; its first failure is shown, and stands in log.txt."""
        # Rich raises SystemExit when the reader of the terminal is gone.
        try:
            yield
        except (Exception, SystemExit) as error:
            name = type(observer).__name__
            if name in self._failed:
                return
            self._failed.add(name)
            logger.exception("observer %s failed, the search goes on", name)
            with contextlib.suppress(Exception, SystemExit):
                self._warn(f"{name} failed, the search goes on ({type(error).__name__}: {error})")
