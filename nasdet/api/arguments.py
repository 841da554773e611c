"""Arguments that several functions of the Python interface share: durations, progress and callbacks."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import TextIO

from nasdet.driver.observers.base import Observer
from nasdet.errors import InputError
from nasdet.space.schema import parse_seconds
from nasdet.trial import TrialRecord

OnTrialEnd = Callable[[TrialRecord], None]
"""Called with the record of each trial once, when it trains no further."""
OnEpochEnd = Callable[[str, int, dict[str, float]], None]
"""Called after each epoch with the trial, the epochs it has trained, and the means of the training: loss, ..."""


def seconds_of(duration: float | str | None, where: str) -> float | None:
    """Seconds of a number of seconds or a text such as 90s, 30m or 1h30m; None stays None.

    Args:
        duration: the argument.
        where: its name, for the message.

    Raises:
        InputError: it is no duration, or not above 0.
    """
    if duration is None:
        return None
    try:
        seconds = float(parse_seconds(duration)) if isinstance(duration, str) else float(duration)
    except (TypeError, ValueError) as error:
        raise InputError(str(error), where=where) from None
    if not seconds > 0:
        raise InputError(f"{duration!r} is not above 0", where=where, remedy="write for example 30m")
    return seconds


class _Silence(io.TextIOBase):
    """A stream that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


def stream_of(progress: bool | TextIO) -> TextIO:
    """Where progress is written: True: standard output as it is now, False: nowhere, a stream: there."""
    if isinstance(progress, bool):
        return sys.stdout if progress else _Silence()  # type: ignore[return-value]
    return progress


class Callbacks(Observer):
    """Calls a user's functions for the events of a study."""

    def __init__(self, on_trial_end: OnTrialEnd | None, on_epoch_end: OnEpochEnd | None) -> None:
        self._on_trial_end, self._on_epoch_end = on_trial_end, on_epoch_end
        self._ended: set[str] = set()

    def epoch(self, record: TrialRecord, epoch: int, means: dict[str, float]) -> None:
        """A trial finished an epoch."""
        if self._on_epoch_end is not None:
            self._on_epoch_end(record.trial, epoch, dict(means))

    def changed(self, record: TrialRecord, time_left: float) -> None:
        """A trial reached a rung, failed or was found infeasible; a paused one may go on."""
        if record.state not in ("running", "paused"):
            self.ended(record)

    def ended(self, record: TrialRecord) -> None:
        """A trial trains no further; of each trial only the first call counts."""
        if self._on_trial_end is not None and record.trial not in self._ended:
            self._ended.add(record.trial)
            self._on_trial_end(record)
